import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container } from '../../../../crds/container.ts';
import { planBudget } from '../../../../controllers/disruption/plan.ts';
import { makeBudget, makeContainer, NOW, readyCondition, secondsAgo } from '../../../support/objects.ts';

const OWNER = { apiVersion: 'windlass.dev/v1', kind: 'Service', name: 'web', uid: 'uid-web', controller: true };

const replica = (slot: number, { isReady = true, deleting = false } = {}): Container =>
  makeContainer(`web-${slot}`, {
    metadata: {
      ownerReferences: [OWNER],
      ...(deleting ? { deletionTimestamp: secondsAgo(1) } : {}),
    },
    status: { phase: 'Running', conditions: [readyCondition(isReady ? 'True' : 'False')] },
  });
const replicas = (count: number): Container[] => Array.from({ length: count }, (_, index) => replica(index + 1));

const plan = (budget: Parameters<typeof makeBudget>[1], containers: readonly Container[], wanted = containers.length) =>
  planBudget({
    budget: makeBudget('web', budget),
    containers,
    wantedBy: () => wanted,
    grantedAt: (_name, at) => Date.parse(at),
    now: NOW,
  });

const numbers = ({ status }: ReturnType<typeof plan>) => [
  status.disruptionsAllowed,
  status.currentHealthy,
  status.desiredHealthy,
  status.expectedPods,
];
const reasonOf = ({ status }: ReturnType<typeof plan>) => status.conditions[0]?.reason;

test('planBudget() allows what is healthy beyond minAvailable', () => {
  assert.deepEqual(numbers(plan({ minAvailable: 2 }, replicas(3))), [1, 3, 2, 3]);
  assert.deepEqual(numbers(plan({ minAvailable: 5 }, replicas(3))), [0, 3, 5, 3]);
  assert.deepEqual(numbers(plan({ minAvailable: 0 }, replicas(3))), [3, 3, 0, 3]);
});

test('planBudget() takes percentages, rounded up, of what the Service wants and not of what there is', () => {
  assert.deepEqual(numbers(plan({ minAvailable: '50%' }, replicas(3), 5)), [0, 3, 3, 5]);
  assert.deepEqual(numbers(plan({ maxUnavailable: '34%' }, replicas(3))), [2, 3, 1, 3]);
  assert.deepEqual(numbers(plan({ maxUnavailable: 1 }, replicas(2), 3)), [0, 2, 2, 3]);
  assert.deepEqual(numbers(plan({ maxUnavailable: '100%' }, replicas(3))), [3, 3, 0, 3]);
});

test('planBudget() counts what is Ready and stays', () => {
  const containers = [replica(1), replica(2, { isReady: false }), replica(3, { deleting: true })];
  assert.deepEqual(numbers(plan({ minAvailable: 1 }, containers)), [0, 1, 1, 3]);
});

test('planBudget() does not count what was granted to go, until that is seen done or runs out', () => {
  const status = { disruptedPods: { 'web-1': secondsAgo(20) } };
  const waiting = plan({ minAvailable: 1, status }, replicas(3));
  assert.deepEqual(numbers(waiting), [1, 2, 1, 3]);
  assert.equal(waiting.status.disruptedPods, undefined);
  assert.equal(waiting.requeueAfterMs, 100_000);

  const gone = plan({ minAvailable: 1, status }, [replica(2), replica(3)], 3);
  assert.deepEqual(numbers(gone), [1, 2, 1, 2]);
  assert.deepEqual(gone.status.disruptedPods, { 'web-1': null });

  const late = plan({ minAvailable: 1, status: { disruptedPods: { 'web-1': secondsAgo(121) } } }, replicas(3));
  assert.deepEqual(numbers(late), [2, 3, 1, 3]);
  assert.deepEqual(late.status.disruptedPods, { 'web-1': null });
});

test('planBudget() counts the successor of the same name, which may have come within the same second', () => {
  const at = { 'web-1': secondsAgo(0) };
  const same = plan(
    { minAvailable: 1, status: { disruptedPods: at, disruptedUIDs: { 'web-1': 'uid-web-1' } } },
    replicas(2),
  );
  assert.deepEqual(numbers(same), [0, 1, 1, 2]);
  const status = { disruptedPods: at, disruptedUIDs: { 'web-1': 'uid-before' } };
  const other = plan({ minAvailable: 1, status }, replicas(2));
  assert.deepEqual(numbers(other), [1, 2, 1, 2]);
  assert.deepEqual(other.status.disruptedPods, { 'web-1': null });
  assert.deepEqual(other.status.disruptedUIDs, { 'web-1': null });
});

test('planBudget() allows nothing where it cannot know, and says why', () => {
  const lone = makeContainer('lone', { status: { phase: 'Running', conditions: [readyCondition()] } });
  const unknown = plan({ maxUnavailable: 1 }, [lone]);
  assert.deepEqual(numbers(unknown), [0, 1, 0, 0]);
  assert.equal(reasonOf(unknown), 'SyncFailed');
  assert.match(unknown.status.conditions[0]?.message ?? '', /^Container lone belongs to no Service/);
  assert.deepEqual(numbers(plan({ minAvailable: 0 }, [lone])), [1, 1, 0, 1]);
  const empty = plan({ minAvailable: 1 }, []);
  assert.deepEqual(
    [reasonOf(empty), empty.status.conditions[0]?.message],
    ['InsufficientPods', 'spec.selector selects no Containers'],
  );
  assert.equal(plan({}, replicas(2)).status.disruptionsAllowed, 0);
  assert.equal(reasonOf(plan({ minAvailable: 1 }, replicas(2))), 'SufficientPods');
});
