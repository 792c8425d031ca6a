import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { PodSandboxConfig, RunPodSandboxRequest } from '../../../../cri/messages.ts';
import { systemClock } from '../../../../lib/clock.ts';
import { describeInstance, paths } from '../../../../lib/instance.ts';
import { silentLogger } from '../../../../lib/log.ts';
import { noMoves } from '../../../../runtime-shim/cgroups/move-primer.ts';
import type { Shim } from '../../../../runtime-shim/rpc/deps.ts';
import { runPodSandbox } from '../../../../runtime-shim/rpc/run-pod-sandbox.ts';
import { createEventHub } from '../../../../runtime-shim/store/events.ts';
import { createKeyedQueue, createSharedCalls } from '../../../../lib/keyed-queue.ts';
import { openRecordStore } from '../../../../runtime-shim/store/record-store.ts';

const STEPS = ['namespaces', 'network', 'shm'] as const;
const UNDO_STEPS = ['detach', 'unmount'] as const;
type Step = (typeof STEPS)[number] | (typeof UNDO_STEPS)[number];

/** A shim whose host and network only remember what they have; the named steps fail. */
function makeShim(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-sandbox-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const instance = describeInstance(join(folder, 'home'), join(folder, 'run'));
  const failing = new Set<Step>();
  const held = new Set<string>();
  const step = (name: Step): void => {
    if (failing.has(name)) throw new Error(`${name} failed`);
  };
  const shim = {
    instance,
    log: silentLogger(),
    clock: systemClock,
    store: openRecordStore(paths.shimState(instance), (_file, error) => assert.fail(String(error))),
    events: createEventHub(),
    queue: createKeyedQueue(),
    shared: createSharedCalls(),
    runtime: { kind: 'runc' },
    rights: { userNamespaces: true, userNamespacesHostNetwork: false, recursiveReadOnly: true },
    host: {
      createSandboxNamespaces(wanted: { net?: string; ipc?: string; uts?: string }) {
        for (const path of [wanted.net, wanted.ipc, wanted.uts]) if (path) held.add(path);
        step('namespaces');
      },
      async createUserNamespace({ pins }: { pins: Record<string, string> }) {
        for (const path of Object.values(pins)) held.add(path);
        step('namespaces');
      },
      setHostname: () => undefined,
      mountTmpfs(path: string) {
        held.add(path);
        step('shm');
      },
      async unmountTogether(targets: readonly string[]) {
        step('unmount');
        for (const path of targets) held.delete(path);
      },
    },
    podNetwork: { ensure: async () => undefined },
    moves: noMoves,
    pool: { take: () => undefined },
    turns: { next: async () => undefined },
    network: {
      async attachSandbox(id: string) {
        held.add(`network ${id}`);
        step('network');
        return { interfaces: [], ports: [] };
      },
      sandboxStatus: () => undefined,
      async detachSandbox(id: string) {
        step('detach');
        held.delete(`network ${id}`);
      },
    },
  } as unknown as Shim;
  return { shim, failing, held, folder: paths.shimState(instance) };
}

const config = {
  metadata: { name: 'a', uid: 'u', namespace: 'ns', attempt: 0 },
  hostname: 'a',
  logDirectory: '',
  dnsConfig: null,
  portMappings: [],
  labels: {},
  annotations: {},
  linux: null,
  windows: null,
} satisfies PodSandboxConfig;
const request: RunPodSandboxRequest = { config, runtimeHandler: '' };
const context = { signal: new AbortController().signal };

for (const failed of STEPS) {
  test(`runPodSandbox() that fails at ${failed} leaves nothing, and its retry succeeds`, async (t) => {
    const { shim, failing, held, folder } = makeShim(t);
    failing.add(failed);
    await assert.rejects(runPodSandbox(shim, request, context), { message: `${failed} failed` });
    assert.deepEqual([[...held], shim.store.sandboxes.list(), readdirSync(join(folder, 'sandboxes'))], [[], [], []]);
    failing.clear();
    const { podSandboxId } = await runPodSandbox(shim, request, context);
    assert.equal(shim.store.sandboxes.get(podSandboxId)?.phase, 'ready');
    assert.deepEqual(await runPodSandbox(shim, request, context), { podSandboxId });
  });
}

const mapping = [{ containerId: 0, hostId: 1000, length: 100 }];
const withUsers = (network: 'POD' | 'NODE'): RunPodSandboxRequest => {
  const usernsOptions = { mode: 'POD', uids: mapping, gids: mapping } as const;
  const namespaceOptions = { network, pid: 'POD', ipc: 'POD', targetId: '', usernsOptions } as const;
  const linux = { sysctls: {}, securityContext: { namespaceOptions } } as unknown as PodSandboxConfig['linux'];
  return { ...request, config: { ...config, linux } };
};

test('runPodSandbox() makes a user namespace with those that belong to it, or nothing', async (t) => {
  const { shim, failing, held } = makeShim(t);
  for (const failed of ['namespaces', 'network'] as const) {
    failing.add(failed);
    await assert.rejects(runPodSandbox(shim, withUsers('POD'), context), { message: `${failed} failed` });
    assert.deepEqual([[...held], shim.store.sandboxes.list()], [[], []]);
    failing.clear();
  }
  await assert.rejects(runPodSandbox(shim, withUsers('NODE'), context), { reason: 'Unimplemented' });
  const { podSandboxId } = await runPodSandbox(shim, withUsers('POD'), context);
  const pins = [...held].flatMap((name) => /\/ns\/(\w+)$/.exec(name)?.[1] ?? []);
  assert.deepEqual(pins.toSorted(), ['ipc', 'net', 'user', 'uts']);
  assert.equal(shim.store.sandboxes.get(podSandboxId)?.namespaces.user?.mapping.uids[0]?.hostID, 1000);
});

for (const undo of UNDO_STEPS) {
  test(`runPodSandbox() whose undo fails at ${undo} keeps the record, and its retry finishes the undo first`, async (t) => {
    const { shim, failing, held } = makeShim(t);
    failing.add('shm').add(undo);
    await assert.rejects(runPodSandbox(shim, request, context), { message: 'shm failed' });
    const [left] = shim.store.sandboxes.list();
    assert.equal(left?.phase, 'creating');
    failing.clear();
    const { podSandboxId } = await runPodSandbox(shim, request, context);
    assert.deepEqual(
      shim.store.sandboxes.list().map(({ id }) => id),
      [podSandboxId],
    );
    assert.ok(left && ![...held].some((name) => name.includes(left.id)));
  });
}

test('runPodSandbox() goes on when its caller gives up, and the retry gets that sandbox', async (t) => {
  const { shim } = makeShim(t);
  const { promise, resolve } = Promise.withResolvers<void>();
  const attach = shim.network.attachSandbox;
  let calls = 0;
  Object.assign(shim.network, {
    attachSandbox: async (...args: Parameters<typeof attach>) => {
      calls += 1;
      await promise;
      return attach(...args);
    },
  });
  const stop = new AbortController();
  const first = runPodSandbox(shim, request, { signal: stop.signal });
  stop.abort();
  await assert.rejects(first, { name: 'AbortError' });
  const retry = runPodSandbox(shim, request, context);
  resolve();
  const { podSandboxId } = await retry;
  assert.deepEqual([calls, shim.store.sandboxes.list().map(({ id }) => id)], [1, [podSandboxId]]);
});

test('runPodSandbox() refuses bad input before anything is made', async (t) => {
  const { shim, held } = makeShim(t);
  for (const change of [
    { metadata: null },
    { hostname: 'a b' },
    { logDirectory: '/x/../y' },
    { annotations: { x: 'a\0' } },
    { annotations: { 'network.windlass.dev/attachments': '{' } },
  ]) {
    await assert.rejects(runPodSandbox(shim, { config: { ...config, ...change }, runtimeHandler: '' }, context), {
      reason: 'Invalid',
    });
  }
  assert.deepEqual([...held], []);
});
