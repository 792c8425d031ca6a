import assert from 'node:assert/strict';
import test from 'node:test';
import { createNodeRegistrar } from '../../../../../controllers/node-agent/node/node-registrar.ts';
import type { Node } from '../../../../../crds/builtin.ts';
import { silentLogger } from '../../../../../lib/log.ts';
import { createFakeClock } from '../../../../support/fake-clock.ts';

const LOOK_MS = 10_000;
const facts = {
  ...{ name: 'n1', hostname: 'n1', addresses: ['10.0.0.1'], agentPort: 1, cpus: 1, memoryBytes: 1, diskBytes: 1 },
  ...{ kernelVersion: '6', osImage: 'x', architecture: 'x64', machineId: 'm', bootId: 'b', agentVersion: 'v' },
};

/** A registrar that has written its Node once, and what it asks for afterwards. */
async function startRegistrar(t: test.TestContext) {
  let stored: Node | undefined;
  let seen: Node | undefined;
  const asked: string[] = [];
  const client = {
    async get() {
      asked.push('get');
      return stored;
    },
    async create(object: object) {
      asked.push('create');
      return (stored = { apiVersion: 'v1', kind: 'Node', ...object } as Node);
    },
    async mergePatch(_: string, __: unknown, patch: object) {
      asked.push('patch');
      return (stored = { ...stored, ...patch } as Node);
    },
  };
  const clock = createFakeClock(0);
  const registrar = createNodeRegistrar({
    ...{ client: client as never, facts, clock, log: silentLogger() },
    watched: () => seen,
    annotations: () => ({}),
    diskProblem: () => undefined,
  });
  registrar.setProblem(undefined);
  const stop = new AbortController();
  const running = registrar.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await running;
  });
  await clock.advance(0);
  seen = stored;
  // What was watched before may be old: the first look asks.
  await clock.advance(LOOK_MS);
  asked.length = 0;
  return {
    ...{ asked, clock, registrar },
    watch: (node: Node | undefined) => void (seen = node),
    store: (node: Node | undefined) => void (stored = node),
    stored: () => stored as Node,
  };
}

const withReady = (node: Node, status: 'True' | 'Unknown'): Node => ({
  ...node,
  status: {
    ...node.status,
    conditions: node.status?.conditions?.map((one) => (one.type === 'Ready' ? { ...one, status } : one)) ?? [],
  },
});

test('the registrar asks for nothing while the Node that it watches says what it wrote', async (t) => {
  const { asked, clock } = await startRegistrar(t);
  await clock.advance(LOOK_MS);
  await clock.advance(LOOK_MS);
  assert.deepEqual(asked, []);
});

test('the registrar writes again what the watch shows to be overruled, once the server says so too', async (t) => {
  const { asked, clock, watch, store, stored } = await startRegistrar(t);
  const unknown = withReady(stored(), 'Unknown');
  watch(unknown);
  await clock.advance(LOOK_MS);
  assert.deepEqual(asked, ['get']);
  store(unknown);
  await clock.advance(LOOK_MS);
  assert.equal(stored().status?.conditions?.find(({ type }) => type === 'Ready')?.status, 'True');
});

test('the registrar makes a Node anew that is gone from the watch', async (t) => {
  const { asked, clock, watch, store } = await startRegistrar(t);
  watch(undefined);
  store(undefined);
  await clock.advance(LOOK_MS);
  assert.ok(asked.includes('create'));
});

test('look() asks the server whatever is watched', async (t) => {
  const { asked, clock, registrar } = await startRegistrar(t);
  registrar.look();
  await clock.advance(0);
  assert.deepEqual(asked, ['get']);
});
