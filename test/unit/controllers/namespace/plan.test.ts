import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planNamespaceConditions, type Remainder } from '../../../../controllers/namespace/plan.ts';
import { NOW } from '../../../support/objects.ts';

const plan = (remainders: Remainder[], discoveryFailures: string[] = [], deletionFailures: string[] = []) =>
  planNamespaceConditions(undefined, { remainders, discoveryFailures, deletionFailures, now: NOW });
const told = (...args: Parameters<typeof plan>) =>
  Object.fromEntries(
    plan(...args)
      .filter(({ status }) => status === 'True')
      .map(({ type, message }) => [type, message]),
  );

test('planNamespaceConditions() of an empty namespace has all five conditions, none True', () => {
  const conditions = plan([]);
  assert.equal(conditions.length, 5);
  assert.ok(conditions.every(({ status }) => status === 'False'));
});

test('planNamespaceConditions() names what is left and which finalizers hold it', () => {
  const objects = ['a', 'b', 'c', 'd'].map((name) => ({
    name,
    finalizers: name === 'd' ? ['x/y'] : ['windlass.dev/node'],
  }));
  assert.deepEqual(
    told([
      { resource: 'containers.windlass.dev', objects },
      { resource: 'secrets', objects: [] },
    ]),
    {
      NamespaceContentRemaining: 'still there: 4 containers.windlass.dev (a, b, c and 1 more)',
      NamespaceFinalizersRemaining: 'waiting for windlass.dev/node on 3 object(s), x/y on 1 object(s)',
    },
  );
});

test('planNamespaceConditions() tells failures of discovery and deletion apart', () => {
  assert.deepEqual(told([], ['metrics.k8s.io/v1beta1: 503'], ['secrets: forbidden']), {
    NamespaceDeletionDiscoveryFailure: 'cannot find out which kinds there are: metrics.k8s.io/v1beta1: 503',
    NamespaceDeletionContentFailure: 'cannot delete some objects: secrets: forbidden',
  });
});

test('planNamespaceConditions() keeps the time of a status that stays', () => {
  const input = { remainders: [], discoveryFailures: [], deletionFailures: [] };
  const first = planNamespaceConditions(undefined, { ...input, now: NOW });
  assert.deepEqual(planNamespaceConditions(first, { ...input, now: NOW + 60_000 }), first);
});
