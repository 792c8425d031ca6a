import assert from 'node:assert/strict';
import test from 'node:test';
import { checkNodeRestriction } from '../../../../apiserver/admission/node-restriction.ts';
import type { Resource, StoredObject } from '../../../../apiserver/resources/resource.ts';

const NODE = { name: 'system:node:n1', groups: ['system:nodes'] };

/** What is wrong with node n1, or another user, making `after` of `before`; undefined when it may. */
function refusal(group: string, plural: string, before?: object, after?: object, user = NODE): string | undefined {
  const [old, object] = [before, after].map((each) => structuredClone(each) as StoredObject | undefined);
  try {
    checkNodeRestriction({ group, plural } as Resource, object, old, { user, dryRun: false, now: 0 });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

test('a node says what it is, and not whether it is given anything to run', () => {
  const node = {
    metadata: { name: 'n1', annotations: { 'windlass.dev/node-key': 'k' } },
    spec: { unschedulable: true },
  };
  const change = (part: object): string | undefined => refusal('', 'nodes', node, { ...node, ...part });
  assert.equal(change({ metadata: { ...node.metadata, labels: { 'kubernetes.io/arch': 'amd64' } } }), undefined);
  assert.match(change({ spec: {} }) ?? '', /node "n1" may not change its spec/);
  assert.match(change({ spec: undefined }) ?? '', /node "n1" may not change its spec/);
  assert.match(change({ metadata: { name: 'n1' } }) ?? '', /may not change its annotation windlass.dev\/node-key/);
  const held = { ...node.metadata, finalizers: ['example.com/stay'] };
  assert.match(change({ metadata: held }) ?? '', /may not change its metadata.finalizers/);
  assert.match(change({ metadata: { name: 'n2' } }) ?? '', /is not allowed to write node "n2"/);
});

test('a node puts its finalizer on what is bound to it, and makes it part of nothing else', () => {
  const container = { metadata: { name: 'web-1', labels: { app: 'web' } }, spec: { nodeName: 'n1' } };
  const change = (part: object): string | undefined =>
    refusal('windlass.dev', 'containers', container, { ...container, metadata: { ...container.metadata, ...part } });
  assert.equal(change({ finalizers: ['windlass.dev/node'] }), undefined);
  assert.match(change({ labels: { app: 'bank' } }) ?? '', /may not change its metadata.labels/);
  assert.match(change({ ownerReferences: [{ uid: 'u' }] }) ?? '', /may not change its metadata.ownerReferences/);
});

test('a node makes and removes Volumes of its own, and only marks those that are on no node yet', () => {
  const volume = (nodeName?: string, more: object = {}): object => ({
    metadata: { name: 'data' },
    spec: { driver: 'local', ...(nodeName === undefined ? {} : { nodeName }), ...more },
  });
  const may = (before?: object, after?: object): string => refusal('windlass.dev', 'volumes', before, after) ?? 'may';
  assert.equal(may(undefined, volume('n1')), 'may');
  assert.match(may(undefined, volume('n2')), /it is on node "n2"/);
  assert.match(may(undefined, volume(undefined, { hostPath: '/' })), /it is not on node "n1"/);
  assert.equal(may(volume(), { ...volume(), metadata: { name: 'data', finalizers: ['windlass.dev/data'] } }), 'may');
  assert.match(may(volume(), volume(undefined, { hostPath: '/' })), /may not change its spec/);
  assert.match(may(volume(), volume('n1')), /may not change its spec/);
  assert.match(may(volume()), /it is not on node "n1"/);
  assert.equal(may(volume('n1')), 'may');
});

test('a node writes the status of Images that it fetches, and of Networks what it says of itself', () => {
  const image = (node: string, status: object): object => ({
    metadata: { name: 'i', annotations: { 'windlass.dev/pull-node': node } },
    status,
  });
  const images = (node: string): string | undefined =>
    refusal('windlass.dev', 'images', image(node, {}), image(node, { digest: 'sha256:1' }));
  assert.equal(images('n1'), undefined);
  assert.match(images('n2') ?? '', /it is fetched by node "n2"/);
  const says = (before: object, after: object): string | undefined =>
    refusal('windlass.dev', 'images', image('n2', before), image('n2', after));
  const lack = (nodeName: string): object => ({ nodeName, reason: 'ErrImagePull', message: 'm' });
  assert.equal(says({ nodes: ['n2'] }, { nodes: ['n1', 'n2'] }), undefined);
  assert.equal(says({ nodes: ['n1', 'n2'] }, { nodes: ['n2'], lacking: [lack('n1')] }), undefined);
  assert.match(says({ nodes: ['n2', 'n3'] }, { nodes: ['n1', 'n2'] }) ?? '', /may only say of itself/);
  assert.match(says({ lacking: [lack('n3')] }, { lacking: [lack('n1')] }) ?? '', /may only say of itself/);
  assert.match(says({ nodes: ['n2'] }, { nodes: ['n1', 'n2'], digest: 'sha256:1' }) ?? '', /may only say of itself/);

  const [own, other] = [
    { name: 'n1', underlayIP: '192.0.2.1' },
    { name: 'n2', underlayIP: '192.0.2.2' },
  ];
  const network = (...nodes: object[]): object => ({ metadata: { name: 'net' }, status: { endpoints: [], nodes } });
  const networks = (after: object): string | undefined =>
    refusal('windlass.dev', 'networks', network(own, other), after);
  assert.equal(networks(network({ ...own, bridge: 'wl-b1', ready: true }, other)), undefined);
  assert.equal(networks(network({ ...own, ready: false, message: 'no' }, other)), undefined);
  for (const wrong of [
    network({ ...own, underlayIP: '192.0.2.9' }, other),
    network(own, { ...other, underlayIP: '192.0.2.1' }),
    network(own, { ...other, ready: false }),
    network(own),
    { metadata: { name: 'net' }, status: { endpoints: [{ container: 'bank', nodeName: 'n1' }], nodes: [own, other] } },
  ]) {
    assert.match(networks(wrong) ?? '', /may only say of itself whether it has it/, JSON.stringify(wrong));
  }
});

test('a node raises the count of what it has reported itself', () => {
  const event = {
    metadata: { name: 'e' },
    involvedObject: { kind: 'Node', name: 'n1' },
    reportingInstance: 'n1',
    count: 1,
  };
  const may = (before: object, after: object): string => refusal('', 'events', before, after) ?? 'may';
  assert.equal(may(event, { ...event, count: 2 }), 'may');
  assert.match(may({ ...event, reportingInstance: 'n2' }, event), /it was not reported by node "n1"/);
  assert.match(
    may(event, { ...event, involvedObject: { kind: 'Node', name: 'n2' } }),
    /may not change whom it is about/,
  );
});

test('the registry makes its own lease, and not that of a leader', () => {
  const registry = { name: 'windlass:registry', groups: [] };
  const make = (plural: string, metadata: object): string =>
    refusal('', plural, undefined, { metadata }, registry) ?? 'may';
  assert.equal(make('leases', { namespace: 'windlass-system', name: 'registry-a' }), 'may');
  assert.match(make('leases', { namespace: 'windlass-system', name: 'controllers' }), /may only write its own lease/);
  assert.match(make('leases', { namespace: 'default', name: 'registry-a' }), /may only write its own lease/);
  assert.equal(make('tokenreviews', { name: '' }), 'may');
});
