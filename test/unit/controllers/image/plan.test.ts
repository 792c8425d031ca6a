import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  imageUseOf,
  planImage,
  planImageConditions,
  planPrepull,
  releasingNodes,
  usesMeaning,
  withoutTakenTags,
} from '../../../../controllers/image/plan.ts';
import { RUNTIME_FEATURES_ANNOTATION } from '../../../../controllers/runtime/object-key.ts';
import type { Node } from '../../../../crds/builtin.ts';
import { PULL_NODE_ANNOTATION, type Image } from '../../../../crds/image.ts';
import { makeContainer, makeImage, makeNode } from '../../../support/objects.ts';

const assigned = (nodeName: string): Image =>
  makeImage('i', { reference: 'busybox', metadata: { annotations: { [PULL_NODE_ANNOTATION]: nodeName } } });
const plan = (image: Image, nodes: Node[], load: Record<string, number> = {}) =>
  planImage({ image, nodes, loadOf: (name) => load[name] ?? 0, holdersOf: () => [] });

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

const builder = (name: string, options: Parameters<typeof makeNode>[1] = {}): Node =>
  makeNode(name, { ...options, annotations: { [RUNTIME_FEATURES_ANNOTATION]: 'networks,build' } });
const built = (context: object, nodeName?: string): Image =>
  makeImage('i', {
    build: { context },
    ...(nodeName ? { metadata: { annotations: { [PULL_NODE_ANNOTATION]: nodeName } } } : {}),
  });

test('planImage() builds where images can be built, near the archive if that can be', () => {
  const inline = { inline: {} };
  assert.deepEqual(plan(built(inline), [makeNode('a'), builder('b')]), { kind: 'assign', nodeName: 'b' });
  assert.deepEqual(plan(built(inline, 'a'), [makeNode('a'), builder('b')]), { kind: 'assign', nodeName: 'b' });
  assert.deepEqual(plan(built(inline), [makeNode('a')]), {
    kind: 'wait',
    reason: 'NoNodeBuilds',
    message: 'none of 1 node(s) has a container runtime that builds images',
  });
  const digest = `sha256:${'a'.repeat(64)}`;
  const near = (nodes: Node[]) =>
    planImage({ image: built({ archive: digest }), nodes, loadOf: () => 0, holdersOf: () => ['c'] });
  assert.deepEqual(near([builder('b'), builder('c')]), { kind: 'assign', nodeName: 'c' });
  assert.deepEqual(near([builder('b'), builder('c', { ready: 'False' })]), { kind: 'assign', nodeName: 'b' });
});

test('planImage() builds a folder, and a repository of a node, on that node', () => {
  const nodes = [builder('a'), builder('b')];
  assert.deepEqual(plan(built({ hostPath: '/src', nodeName: 'b' }), nodes), { kind: 'assign', nodeName: 'b' });
  assert.deepEqual(plan(built({ git: 'file:///src.git', nodeName: 'b' }), nodes), { kind: 'assign', nodeName: 'b' });
  assert.deepEqual(plan(built({ git: 'https://h/src.git' }), nodes), { kind: 'assign', nodeName: 'a' });
  const unclear = plan(built({ hostPath: '/src' }), nodes);
  const wanted = 'spec.build.context.nodeName: must say which of 2 nodes has /src';
  assert.equal(unclear.kind === 'refuse' && unclear.message, wanted);
});

test('planPrepull() counts ready nodes that match, and says who lacks it and why', () => {
  const ssd = { labels: { disk: 'ssd' } };
  const nodes = [makeNode('a', ssd), makeNode('b', ssd), makeNode('c'), makeNode('d', { ...ssd, ready: 'Unknown' })];
  const image = (nodeSelector: Record<string, string> | undefined, status: Image['status']): Image => ({
    ...makeImage('i', { reference: 'busybox', prepull: nodeSelector ? { nodeSelector } : {} }),
    ...(status ? { status } : {}),
  });
  const messageOf = (...given: Parameters<typeof image>): string | undefined => {
    const [condition] = planPrepull(image(...given), nodes);
    return condition && `${condition.status} ${condition.reason} ${condition.message}`;
  };
  assert.deepEqual(planPrepull(makeImage('i', { reference: 'busybox' }), nodes), []);
  assert.equal(messageOf({ disk: 'ssd' }, { nodes: ['a', 'b'] }), 'True Prepulled 2 of 2 nodes');
  assert.equal(messageOf(undefined, { nodes: ['a'] }), 'False Prepulling 1 of 3 nodes; not yet: b, c');
  const lacking = [{ nodeName: 'b', reason: 'ErrImagePull', message: 'no route' }];
  const failed = 'False PrepullFailed 1 of 2 nodes; not yet: b (ErrImagePull: no route)';
  assert.equal(messageOf({ disk: 'ssd' }, { nodes: ['a'], lacking }), failed);
  assert.equal(messageOf({ disk: 'tape' }, {}), 'False NoNodeMatches no ready node has these labels');
});

test('planImageConditions() calls an Image dangling that has no name and no user', () => {
  const dangling = (image: Image, users: number): string | undefined =>
    planImageConditions(
      image,
      Array.from({ length: users }, () => makeContainer('c')),
      [image],
    ).find(({ type }) => type === 'Dangling')?.status;
  const nameless = makeImage('i', { import: { hostPath: '/x.tar' } });
  assert.deepEqual(
    [dangling(nameless, 0), dangling(nameless, 1), dangling(makeImage('i', { reference: 'busybox' }), 0)],
    ['True', 'False', 'False'],
  );
});

test('a reference that two Images claim means what is built before what is pulled, then the first by name, and the other one says so', () => {
  const pulled = makeImage('a', { reference: 'busybox', tags: ['mine:1'] });
  const first = makeImage('b', {
    import: { hostPath: '/x.tar' },
    tags: ['docker.io/library/busybox', 'mine:1', 'b:1'],
  });
  const second = makeImage('c', { import: { hostPath: '/y.tar' }, tags: ['mine:1', 'c:1'] });
  const images = [second, pulled, first];
  const takenOf = (image: Image): string | undefined => {
    const found = planImageConditions(image, [], images).find(({ type }) => type === 'ReferencesTaken');
    return found && `${found.status} ${found.reason} ${found.message}`;
  };
  const rule = 'only one Image of a namespace can have a reference';
  assert.equal(takenOf(first), undefined);
  assert.equal(
    takenOf(pulled),
    `True ReferenceTaken docker.io/library/busybox:latest means image "b", docker.io/library/mine:1 means image "b": ${rule}`,
  );
  assert.equal(takenOf(second), `True ReferenceTaken docker.io/library/mine:1 means image "b": ${rule}`);
  const tags = [first, second, pulled].map((image) => withoutTakenTags(image, images).spec.tags);
  assert.deepEqual(tags, [first.spec.tags, ['c:1'], []]);
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

test('releasingNodes() waits for nodes that hold the bytes and answer, for no others', () => {
  const held: Image = { ...assigned('a'), status: { nodes: ['a'] } };
  assert.deepEqual(releasingNodes(held, [makeNode('a')]), ['a']);
  assert.deepEqual(releasingNodes(held, [makeNode('a', { ready: 'Unknown' })]), []);
  assert.deepEqual(releasingNodes(held, [makeNode('b')]), []);
  assert.deepEqual(releasingNodes({ ...held, status: { nodes: [] } }, [makeNode('a')]), []);
});
