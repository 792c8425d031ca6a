import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeEviction, spendDisruption } from '../../../../apiserver/pods/eviction-budget.ts';
import type { ContainerPhase } from '../../../../crds/container.ts';
import type { DisruptionBudgetStatus } from '../../../../crds/disruption-budget.ts';
import { makeBudget, makeContainer, NOW, readyCondition, secondsAgo } from '../../../support/objects.ts';

const running = ({ isReady = true, phase = 'Running' as ContainerPhase, deleting = false } = {}) =>
  makeContainer('web-1', {
    metadata: { labels: { app: 'web' }, ...(deleting ? { deletionTimestamp: secondsAgo(1) } : {}) },
    status: { phase, conditions: [readyCondition(isReady ? 'True' : 'False')] },
  });
const WEB = { name: 'web-1', uid: 'uid-web-1' };
const status: DisruptionBudgetStatus = { disruptionsAllowed: 0, currentHealthy: 2, desiredHealthy: 2 };

test('judgeEviction() asks the one budget that is about the Container', () => {
  const budget = makeBudget('web', { status });
  const others = [makeBudget('db'), makeBudget('all', { selector: null })];
  const elsewhere = makeBudget('web', { metadata: { namespace: 'other' } });
  assert.deepEqual(judgeEviction(running(), [...others, elsewhere]), { kind: 'free' });
  assert.deepEqual(judgeEviction(running(), [...others, budget, elsewhere]), { kind: 'spend', budget });
  assert.throws(() => judgeEviction(running(), [budget, makeBudget('all', { selector: {} })]), {
    reason: 'Internal',
    message: /more than one PodDisruptionBudget.*: web, all$/,
  });
});

test('judgeEviction() lets go for nothing what is over, not running yet or going anyway', () => {
  const budgets = [makeBudget('web', { status })];
  for (const phase of ['Pending', 'Created', 'Succeeded', 'Failed'] as const) {
    assert.deepEqual(judgeEviction(running({ phase }), budgets), { kind: 'as-seen' }, phase);
  }
  assert.deepEqual(judgeEviction(running({ deleting: true }), budgets), { kind: 'as-seen' });
  assert.equal(judgeEviction(running({ phase: 'Unknown', isReady: false }), [makeBudget('web')]).kind, 'spend');
});

test('judgeEviction() of what is not Ready follows unhealthyPodEvictionPolicy', () => {
  const sick = running({ isReady: false });
  const judge = (more: DisruptionBudgetStatus, policy?: 'AlwaysAllow') =>
    judgeEviction(sick, [
      makeBudget('web', { status: more, ...(policy ? { unhealthyPodEvictionPolicy: policy } : {}) }),
    ]).kind;
  assert.equal(judge(status), 'as-seen');
  assert.equal(judge({ ...status, currentHealthy: 1 }), 'spend');
  assert.equal(judge({ ...status, desiredHealthy: 0 }), 'spend');
  assert.equal(judge({ ...status, currentHealthy: 1 }, 'AlwaysAllow'), 'as-seen');
});

test('spendDisruption() takes one and notes for whom', () => {
  const budget = makeBudget('web', {
    status: { ...status, disruptionsAllowed: 2, disruptedPods: { 'web-9': secondsAgo(5) } },
  });
  const spent = spendDisruption(budget, WEB, NOW).status;
  assert.equal(spent?.disruptionsAllowed, 1);
  assert.deepEqual(spent?.disruptedPods, { 'web-9': secondsAgo(5), 'web-1': secondsAgo(0) });
  assert.deepEqual(spent?.disruptedUIDs, { 'web-1': 'uid-web-1' });
});

test('spendDisruption() says why there is nothing to take', () => {
  const causeOf = (budget: Parameters<typeof spendDisruption>[0]): string => {
    try {
      spendDisruption(budget, WEB, NOW);
    } catch (error) {
      return (error as { details: { causes: { message: string }[] } }).details.causes[0]?.message ?? '';
    }
    return '';
  };
  assert.equal(
    causeOf(makeBudget('web', { status })),
    'The disruption budget web needs 2 healthy pods and has 2 currently',
  );
  // Another eviction has just spent the last one.
  assert.equal(
    causeOf(makeBudget('web', { status: { ...status, currentHealthy: 3 } })),
    'The disruption budget web does not allow evicting pods currently',
  );
  const fresh = 'The disruption budget web is still being processed by the server.';
  assert.equal(causeOf(makeBudget('web')), fresh);
  assert.equal(
    causeOf(makeBudget('web', { metadata: { generation: 2 }, status: { ...status, disruptionsAllowed: 1 } })),
    fresh,
  );
  const failed = {
    type: 'DisruptionAllowed',
    status: 'False',
    reason: 'SyncFailed',
    message: 'no Service',
    lastTransitionTime: secondsAgo(1),
  } as const;
  assert.match(
    causeOf(makeBudget('web', { status: { ...status, conditions: [failed] } })),
    /because it failed sync: no Service$/,
  );
  const many = Object.fromEntries(Array.from({ length: 2001 }, (_, index) => [`web-${index}`, secondsAgo(1)]));
  assert.throws(
    () => spendDisruption(makeBudget('web', { status: { disruptionsAllowed: 1, disruptedPods: many } }), WEB, NOW),
    { reason: 'Forbidden' },
  );
});
