import assert from 'node:assert/strict';
import test from 'node:test';
import { authorize } from '../../../../apiserver/auth/authorize.ts';
import { isOwnLease } from '../../../../apiserver/auth/node-rule.ts';

const may = (verb: string, resource: string, { group = '', subresource = '', name = '' } = {}): boolean =>
  authorize(
    { name: 'system:node:n1', groups: ['system:nodes'] },
    { verb, group, version: 'v1', resource, subresource, namespace: 'shop', name },
  ).allowed;

test('a node reads what it needs, and not what Containers elsewhere have said or are given', () => {
  assert.equal(may('list', 'containers', { group: 'windlass.dev' }), true);
  assert.equal(may('get', 'configmaps', { name: 'a' }), true);
  assert.equal(may('list', 'secrets'), false);
  assert.equal(may('watch', 'secrets'), false);
  assert.equal(may('get', 'pods', { subresource: 'log', name: 'a' }), false);
});

test('a node opens no stream into a Container, evicts nothing, and makes no Container', () => {
  for (const subresource of ['exec', 'attach', 'portforward', 'eviction']) {
    assert.equal(may('create', 'pods', { subresource, name: 'a' }), false, subresource);
  }
  assert.equal(may('create', 'containers', { group: 'windlass.dev' }), false);
});

test('a node may ask for certificates and not answer requests', () => {
  const group = 'certificates.k8s.io';
  assert.equal(may('create', 'certificatesigningrequests', { group }), true);
  for (const subresource of ['approval', 'status']) {
    assert.equal(may('patch', 'certificatesigningrequests', { group, subresource, name: 'a' }), false, subresource);
  }
});

test('a node holds its own leases, whatever it is called', () => {
  assert.equal(isOwnLease('kube-node-lease', 'n1', 'n1'), true);
  assert.equal(isOwnLease('windlass-system', 'node-agent-n1', 'n1'), true);
  assert.equal(isOwnLease('windlass-system', 'runtime-shim-n1', 'n1'), true);
  assert.equal(isOwnLease('windlass-system', 'windlass-controllers', 'controllers'), false);
  assert.equal(isOwnLease('windlass-system', 'node-agent-web-1', '1'), false);
  assert.equal(isOwnLease('kube-node-lease', 'n2', 'n1'), false);
});
