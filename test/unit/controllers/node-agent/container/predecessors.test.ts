import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPredecessors } from '../../../../../controllers/node-agent/container/predecessors.ts';
import type { ContainerState, SandboxState } from '../../../../../controllers/node-agent/runtime/node-runtime.ts';
import type { WatchedKind } from '../../../../../controllers/runtime/controller.ts';
import type { Container } from '../../../../../crds/container.ts';
import { makeContainer, makeRun, makeSandbox, NOW } from '../make.ts';

type Handler = Parameters<WatchedKind<Container>['subscribe']>[0];

const mounts = [{ mountPath: '/data', volume: 'data' }];
const named = (name: string, uid: string, spec: Record<string, unknown> = {}): Container =>
  makeContainer(spec, { metadata: { name, uid } });
const sandboxOf = (container: Container, overrides: Partial<SandboxState> = {}): SandboxState =>
  makeSandbox(container, { id: `s-${container.metadata.uid}`, name: container.metadata.name, ...overrides });

function start(sandboxes: SandboxState[], runs: ContainerState[] = []) {
  let tell: Handler = () => undefined;
  let alarms = 0;
  const predecessors = createPredecessors({
    containers: {
      synced: async () => undefined,
      subscribe: (handler) => {
        tell = handler;
        return () => undefined;
      },
    },
    cache: {
      sandboxes: () => sandboxes,
      viewOf: (uid) => {
        const its = sandboxes.filter((one) => one.uid === uid);
        return { sandboxes: its, containers: runs.filter(({ sandboxId }) => its.some(({ id }) => id === sandboxId)) };
      },
    },
    nodeName: 'n1',
    ownUids: () => new Set(['own', 'u2']),
    now: () => NOW,
    onGone: () => (alarms += 1),
  });
  return { predecessors, tell: (change: Parameters<Handler>[0]) => tell(change), alarms: () => alarms };
}

test('a Container waits for the sandbox of an earlier one of its name', () => {
  const [old, successor] = [named('web', 'u1'), named('web', 'u2')];
  const stranger = sandboxOf(old, { id: 'x', labels: {} });
  const { predecessors } = start([sandboxOf(old), sandboxOf(successor), sandboxOf(old, { name: 'web-2' }), stranger]);
  assert.deepEqual(
    predecessors.of(successor).map(({ id }) => id),
    ['s-u1'],
  );
});

test('a Container waits for one that is gone and mounts a volume of its, whatever its name', () => {
  const [old, successor] = [named('db-1-abc', 'u1', { mounts }), named('db-1', 'u2', { mounts })];
  const sandboxes = [sandboxOf(old)];
  const { predecessors, tell, alarms } = start(sandboxes);
  // As long as it has its object it is none of ours: a Service may give a slot to two for a while.
  assert.deepEqual(predecessors.of(successor), []);
  tell({ object: old, previous: old, deleted: true });
  assert.deepEqual([predecessors.of(successor).map(({ id }) => id), alarms()], [['s-u1'], 1]);
  assert.equal(predecessors.gone('u1')?.metadata.name, 'db-1-abc');
  assert.deepEqual(predecessors.of(named('other', 'u3')), []);
  sandboxes.pop();
  assert.deepEqual(predecessors.of(successor), []);
});

test('a Container waits for one that is gone and had its slot, whatever its name', () => {
  // With StartFirst the name of a slot's Container changes.
  const replica = (name: string, uid: string, slot: string, service = 'web'): Container => {
    const owner = { apiVersion: 'windlass.dev/v1', kind: 'Service', name: service, uid: service, controller: true };
    return makeContainer(
      {},
      { metadata: { name, uid, ownerReferences: [owner], labels: { 'windlass.dev/slot': slot } } },
    );
  };
  const old = replica('web-1-abc', 'u1', '1');
  const { predecessors, tell } = start([sandboxOf(old)]);
  const idsFor = (container: Container): string[] => predecessors.of(container).map(({ id }) => id);
  assert.deepEqual(
    idsFor(replica('web-1', 'u2', '1')),
    [],
    'its object is there: it is another update that is under way',
  );
  tell({ object: old, previous: old, deleted: true });
  assert.deepEqual(idsFor(replica('web-1', 'u2', '1')), ['s-u1']);
  assert.deepEqual(idsFor(replica('web-2', 'u3', '2')), []);
  assert.deepEqual(idsFor(replica('db-1', 'u4', '1', 'db')), []);
});

test('a successor that is seen without the end of the one before it tells of that end', () => {
  const old = named('web', 'u1', { mounts });
  const { predecessors, tell, alarms } = start([sandboxOf(old)]);
  tell({ object: named('web', 'u1', { mounts }), previous: old, deleted: false });
  assert.equal(alarms(), 0);
  tell({ object: named('web', 'u2', { nodeName: 'n2' }), previous: old, deleted: false });
  assert.deepEqual([alarms(), predecessors.gone('u1')?.metadata.uid], [1, 'u1']);
});

test('a Container with volumes waits for what runs of somebody who went while the agent was away', () => {
  const [lost, own, ended] = ['lost', 'own', 'ended'].map((uid) => sandboxOf(named(`${uid}-1`, uid)));
  assert.ok(lost && own && ended);
  const runs = [
    makeRun({ sandboxId: lost.id }),
    makeRun({ sandboxId: own.id }),
    makeRun({ sandboxId: ended.id, state: 'Exited' }),
  ];
  const { predecessors } = start([lost, own, ended], runs);
  assert.deepEqual(predecessors.of(named('web', 'u2', { mounts })), [lost]);
  assert.deepEqual(predecessors.of(named('web', 'u2')), []);
});
