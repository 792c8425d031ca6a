import assert from 'node:assert/strict';
import { test } from 'node:test';
import { classify } from '../../../../apiserver/flowcontrol/classify.ts';

const node = { name: 'system:node:a', groups: ['system:nodes'] };
const controllers = { name: 'windlass:controllers', groups: ['system:masters'] };
const admin = { name: 'admin', groups: ['system:masters'] };
const asked = (fields: Partial<Parameters<typeof classify>[1]>): Parameters<typeof classify>[1] => ({
  ...{ verb: 'get', group: 'windlass.dev', resource: 'containers', namespace: 'default', name: 'x' },
  ...fields,
});
const levelOf = (user: Parameters<typeof classify>[0], fields: Parameters<typeof asked>[0]): string =>
  classify(user, asked(fields), { isNamed: false }).level;

test('classify() puts leases and heartbeats before writes, and lists behind all', () => {
  const lease = { group: 'coordination.k8s.io', resource: 'leases', verb: 'update' };
  assert.equal(levelOf(controllers, { ...lease, namespace: 'windlass-system' }), 'leader-election');
  assert.equal(levelOf(node, { ...lease, namespace: 'kube-node-lease' }), 'node-high');
  assert.equal(levelOf(node, { group: '', resource: 'nodes', namespace: '', verb: 'patch' }), 'node-high');
  assert.equal(levelOf(node, { verb: 'patch' }), 'system');
  assert.equal(levelOf(controllers, { verb: 'create' }), 'workload-high');
  assert.equal(levelOf(admin, { verb: 'create' }), 'global-default');
  for (const user of [node, controllers, admin])
    assert.equal(levelOf(user, { verb: 'list', name: '' }), 'workload-low');
  assert.equal(levelOf(controllers, { ...lease, verb: 'list', name: '', namespace: '' }), 'workload-low');
});

test('classify() lets a list that waits for agents keep no other list waiting', () => {
  assert.equal(levelOf(admin, { group: 'metrics.k8s.io', verb: 'list', name: '' }), 'global-default');
});

test('classify() takes a list that finds one object for a read of that object', () => {
  const list = asked({ verb: 'list', name: '' });
  assert.equal(classify(node, list, { isNamed: true }).level, 'system');
});

test('classify() makes a flow of each user', () => {
  assert.equal(classify(node, asked({}), { isNamed: false }).flow, 'system:node:a');
});
