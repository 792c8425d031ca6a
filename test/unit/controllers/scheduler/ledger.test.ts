import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLedger } from '../../../../controllers/scheduler/ledger.ts';
import { makeContainer, makeNode } from '../../../support/objects.ts';

function makeLedger() {
  const ledger = createLedger();
  ledger.setNode(makeNode('a'));
  ledger.setNode(makeNode('b'));
  const counts = () =>
    Object.fromEntries(ledger.nodes().map(({ name, claims, cpu }) => [name, `${claims.size} ${cpu}`]));
  return { ledger, counts };
}
const spec = {
  resources: { requests: { cpu: 1 } },
  ports: [{ containerPort: 80, hostPort: 80 }],
  mounts: [{ mountPath: '/d', volume: 'v' }],
};
const at = (resourceVersion: string, nodeName?: string) =>
  makeContainer('c', { ...spec, ...(nodeName ? { nodeName } : {}), metadata: { resourceVersion } });

test('a claim counts once, however often it is shown', () => {
  const { ledger, counts } = makeLedger();
  ledger.setContainer(at('5', 'a'));
  ledger.setContainer(at('6', 'a'));
  assert.deepEqual(counts(), { a: '1 1', b: '0 0' });
  assert.deepEqual(ledger.nodesOfVolume('default/v'), ['a']);
});

test('an assumption holds against an older view, and becomes the claim', () => {
  const { ledger, counts } = makeLedger();
  ledger.assume(at('5'), 'a');
  assert.equal(ledger.setContainer(at('6')), false);
  assert.deepEqual(counts(), { a: '1 1', b: '0 0' });
  ledger.setContainer(at('7', 'a'));
  ledger.setContainer(at('6'));
  assert.deepEqual(counts(), { a: '1 1', b: '0 0' });
  assert.equal(ledger.claim('default/c')?.isAssumed, false);
});

test('unassume() gives everything back, but never a real claim', () => {
  const { ledger, counts } = makeLedger();
  ledger.assume(at('5'), 'a');
  ledger.unassume('default/c');
  assert.deepEqual(counts(), { a: '0 0', b: '0 0' });
  ledger.setContainer(at('6', 'a'));
  ledger.unassume('default/c');
  assert.deepEqual(counts(), { a: '1 1', b: '0 0' });
});

test('removeContainer() only removes the same object', () => {
  const { ledger } = makeLedger();
  ledger.setContainer(at('5', 'a'));
  assert.equal(ledger.removeContainer('default/c', 'uid-other'), false);
  assert.equal(ledger.removeContainer('default/c', 'uid-c'), true);
  assert.deepEqual(ledger.nodes()[0]?.ports.size, 0);
  assert.deepEqual(ledger.nodesOfVolume('default/v'), []);
});

test('the successor of the same name takes the place of the one before', () => {
  const { ledger, counts } = makeLedger();
  ledger.setContainer(at('9', 'a'));
  ledger.setContainer(makeContainer('c', { nodeName: 'b', metadata: { uid: 'uid-next', resourceVersion: '3' } }));
  assert.deepEqual(counts(), { a: '0 0', b: '1 0' });
});

test('a Container that finished gives back what it held', () => {
  const { ledger, counts } = makeLedger();
  ledger.setContainer(at('5', 'a'));
  assert.equal(ledger.setContainer({ ...at('6', 'a'), status: { phase: 'Failed' } }), true);
  assert.deepEqual(counts(), { a: '0 0', b: '0 0' });
});

test('claims on a node survive its leaving and coming back', () => {
  const { ledger, counts } = makeLedger();
  ledger.setContainer(at('5', 'a'));
  ledger.removeNode('a');
  assert.deepEqual(counts(), { b: '0 0' });
  ledger.setNode(makeNode('a'));
  assert.deepEqual(counts(), { a: '1 1', b: '0 0' });
});
