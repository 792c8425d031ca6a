import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  imageUseOf,
  planImage,
  planImageConditions,
  releasingNode,
  usesMeaning,
} from '../../../../controllers/image/plan.ts';
import type { Node } from '../../../../crds/builtin.ts';
import { PULL_NODE_ANNOTATION, type Image } from '../../../../crds/image.ts';
import { makeContainer, makeImage, makeNode } from '../../../support/objects.ts';

const assigned = (nodeName: string): Image =>
  makeImage('i', { reference: 'busybox', metadata: { annotations: { [PULL_NODE_ANNOTATION]: nodeName } } });
const plan = (image: Image, nodes: Node[], load: Record<string, number> = {}) =>
  planImage({ image, nodes, loadOf: (name) => load[name] ?? 0 });

test('planImage() assigns the node with the fewest images', () => {
  const nodes = [makeNode('a'), makeNode('b'), makeNode('c', { ready: 'False' })];
  assert.deepEqual(plan(makeImage('i', { reference: 'busybox' }), nodes, { a: 3, b: 1 }), {
    kind: 'assign',
    nodeName: 'b',
  });
});

test('planImage() keeps an assignment while its node works, or nobody else could', () => {
  assert.deepEqual(plan(assigned('a'), [makeNode('a'), makeNode('b')], { a: 99 }), { kind: 'keep' });
  assert.deepEqual(plan(assigned('a'), [makeNode('a', { ready: 'Unknown' })]), { kind: 'keep' });
  assert.deepEqual(plan(assigned('a'), [makeNode('a', { ready: 'Unknown' }), makeNode('b')]), {
    kind: 'assign',
    nodeName: 'b',
  });
  assert.deepEqual(plan(assigned('gone'), [makeNode('b')]), { kind: 'assign', nodeName: 'b' });
});

test('planImage() waits for a node', () => {
  assert.deepEqual(plan(makeImage('i', { reference: 'busybox' }), []), {
    kind: 'wait',
    reason: 'NoNodeReady',
    message: 'none of 0 node(s) is ready to fetch it',
  });
});

test('planImage() imports where the file is', () => {
  const nodes = [makeNode('a'), makeNode('b')];
  const from = (nodeName?: string): Image =>
    makeImage('i', { import: { hostPath: '/x.tar', ...(nodeName ? { nodeName } : {}) } });
  assert.deepEqual(plan(from('b'), nodes), { kind: 'assign', nodeName: 'b' });
  assert.deepEqual(plan(from(), [makeNode('a')]), { kind: 'assign', nodeName: 'a' });
  assert.deepEqual(plan(from('z'), nodes), {
    kind: 'wait',
    reason: 'NodeNotFound',
    message: 'node z is not in the cluster',
  });
  const unclear = plan(from(), nodes);
  assert.equal(
    unclear.kind === 'refuse' && unclear.message,
    'spec.import.nodeName: must say which of 2 nodes has /x.tar',
  );
});

test('planImage() refuses by name what is not built yet', () => {
  const build = plan(makeImage('i', { build: { context: { inline: {} } } }), [makeNode('a')]);
  assert.deepEqual(build, {
    kind: 'refuse',
    reason: 'NotSupported',
    message: 'spec.build is not supported by this version',
  });
});

test('planImageConditions() calls an Image dangling that has no name and no user', () => {
  const dangling = (image: Image, users: number): string | undefined =>
    planImageConditions(
      image,
      Array.from({ length: users }, () => makeContainer('c')),
    ).find(({ type }) => type === 'Dangling')?.status;
  const nameless = makeImage('i', { import: { hostPath: '/x.tar' } });
  assert.deepEqual(
    [dangling(nameless, 0), dangling(nameless, 1), dangling(makeImage('i', { reference: 'busybox' }), 0)],
    ['True', 'False', 'False'],
  );
});

test('usesMeaning() covers the name and every spelling of the references', () => {
  const uses = usesMeaning(makeImage('i', { reference: 'busybox', tags: ['localhost:5050/bb:1'] }));
  const isUser = (spec: { image?: string; imageName?: string }): boolean => {
    const container = makeContainer('c');
    return uses.includes(imageUseOf({ ...container, spec: { ...container.spec, image: undefined, ...spec } }));
  };
  assert.deepEqual(
    [{ image: 'docker.io/library/busybox:latest' }, { image: 'localhost:5050/bb:1' }, { imageName: 'i' }].map(isUser),
    [true, true, true],
  );
  assert.deepEqual([{ image: 'busybox:1' }, { imageName: 'j' }].map(isUser), [false, false]);
});

test('releasingNode() waits for a node that holds the bytes and answers, for no other', () => {
  const held: Image = { ...assigned('a'), status: { nodes: ['a'] } };
  assert.equal(releasingNode(held, [makeNode('a')]), 'a');
  assert.equal(releasingNode(held, [makeNode('a', { ready: 'Unknown' })]), undefined);
  assert.equal(releasingNode(held, [makeNode('b')]), undefined);
  assert.equal(releasingNode({ ...held, status: { nodes: [] } }, [makeNode('a')]), undefined);
});
