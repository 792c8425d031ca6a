import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSameStatus } from '../../../../controllers/runtime/conditions.ts';

test('isSameStatus() takes a field that a patch takes away for one that is not there', () => {
  const current = { autoscale: { desiredReplicas: 3 }, replicas: 1 };
  assert.equal(isSameStatus(current, { autoscale: { desiredReplicas: 3, currentCpuPercent: null } }), true);
  assert.equal(isSameStatus(current, { autoscale: { desiredReplicas: 3, lastScaleTime: undefined } }), true);
  assert.equal(isSameStatus(current, { autoscale: null }), false);
  assert.equal(isSameStatus({ replicas: 1 }, { autoscale: null }), true);
  assert.equal(
    isSameStatus({ autoscale: { currentCpuPercent: 50 } }, { autoscale: { currentCpuPercent: null } }),
    false,
  );
});

test('isSameStatus() sees every difference in what is written, and none in what others write', () => {
  const condition = { type: 'Ready', status: 'True' };
  const current = { conditions: [condition, { type: 'Other', status: 'False' }], replicas: 0 };
  assert.equal(isSameStatus(current, { conditions: [{ status: 'True', type: 'Ready' }] }), false);
  assert.equal(isSameStatus(current, { conditions: current.conditions.map((one) => ({ ...one })) }), true);
  assert.equal(isSameStatus(current, { conditions: current.conditions.toReversed() }), false);
  assert.equal(isSameStatus(current, { replicas: '0' }), false);
  assert.equal(isSameStatus(current, { conditions: {} }), false);
  assert.equal(isSameStatus({ list: [] }, { list: {} }), false);
  assert.equal(isSameStatus(undefined, { replicas: 0 }), false);
});
