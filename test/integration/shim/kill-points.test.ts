// SIGKILL to the shim at a step of every call: started again and asked again, it does what was asked, once, and in the end
// nothing is left. `npm test` takes the most delicate steps; the long tier takes every step there is.
import assert from 'node:assert/strict';
import { existsSync, renameSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { equalsSnapshot, takeEmptySnapshot } from '../../support/snapshot-check.ts';
import { makeImage } from '../../support/images.ts';
import { startMortalShim, type MortalShim } from '../../support/kill-plan.ts';
import type { KillPlan } from '../../support/kill-points.ts';
import { pickSubnet } from '../../support/own-subnet.ts';
import { startTestRegistry } from '../../support/registry.ts';
import { requireFeature, requirePrograms, requireRoot } from '../../support/require.ts';

const PREFIX = pickSubnet();
const NETWORK = {
  id: 'kill/net',
  subnets: [{ cidr: `${PREFIX}.0/24`, gateway: `${PREFIX}.1`, ranges: [] }],
  ...{ internal: true, isolated: false, mtu: 1500, domain: 'kill' },
};

const isLong = process.env['WINDLASS_LONG'] === '1';

interface Life {
  readonly name: string;
  readonly image: string;
  sandboxId: string;
  containerId: string;
}

type Call = (shim: MortalShim['shim'], life: Life) => Promise<void>;

/** One life, in order. Each call may be made again. */
const CALLS = {
  async PullImage({ cri }, { image }) {
    await cri.images.pullImage({ image: { image } });
  },
  async RunPodSandbox(shim, life) {
    const attachments = JSON.stringify([{ network: NETWORK.id, names: [life.name] }]);
    life.sandboxId = await shim.runSandbox(life.name, {
      annotations: { 'network.windlass.dev/attachments': attachments },
    });
  },
  async CreateContainer(shim, life) {
    life.containerId = await shim.create(life.sandboxId, {
      command: ['sh', '-c', 'while true; do echo tick; sleep 0.2; done'],
      mounts: [{ containerPath: '/image', readonly: true, image: { image: life.image } }],
    });
  },
  async StartContainer({ cri }, { containerId }) {
    await cri.runtime.startContainer({ containerId });
  },
  async ExecSync(shim, { containerId }) {
    assert.equal(await shim.exec(containerId, 'cat', '/image/hello'), 'hello');
  },
  async UpdateContainerResources({ cri }, { containerId }) {
    await cri.runtime.updateContainerResources({ containerId, linux: { memoryLimitInBytes: 64 * 2 ** 20 } });
  },
  async ReopenContainerLog(shim, { containerId }) {
    const { logPath } = await shim.status(containerId);
    if (existsSync(logPath)) renameSync(logPath, `${logPath}.1`);
    await shim.cri.runtime.reopenContainerLog({ containerId });
  },
  async StopContainer(shim, { containerId }) {
    await shim.cri.runtime.stopContainer({ containerId, timeout: 0 });
    assert.equal((await shim.status(containerId)).state, 'CONTAINER_EXITED');
  },
  async RemoveContainer({ cri }, { containerId }) {
    await cri.runtime.removeContainer({ containerId });
  },
  async StopPodSandbox({ cri }, { sandboxId }) {
    await cri.runtime.stopPodSandbox({ podSandboxId: sandboxId });
  },
  async RemovePodSandbox({ cri }, { sandboxId }) {
    await cri.runtime.removePodSandbox({ podSandboxId: sandboxId });
  },
  async RemoveImage({ cri }, { image }) {
    await cri.images.removeImage({ image: { image } });
  },
} satisfies Record<string, Call>;

type CallName = keyof typeof CALLS;
const names = Object.keys(CALLS) as CallName[];

/** True after calls `from` up to, not including, `to`. */
const isBetween = (name: CallName, from: CallName, to: CallName): boolean =>
  names.indexOf(name) >= names.indexOf(from) && names.indexOf(name) < names.indexOf(to);

interface Killed {
  readonly call: CallName;
  readonly died: boolean;
  readonly steps: readonly string[];
}

/** Makes every call of a life, each with its plan armed. */
async function live(mortal: MortalShim, life: Life, planOf: (call: CallName) => KillPlan): Promise<Killed[]> {
  const { shim } = mortal;
  const killed: Killed[] = [];
  for (const call of names) {
    const { died, steps } = await mortal.attempt(planOf(call), () => CALLS[call](shim, life));
    killed.push({ call, died, steps });
    const { items } = await shim.cri.runtime.listPodSandbox({});
    const { containers } = await shim.cri.runtime.listContainers({});
    assert.deepEqual(
      [items.length, containers.length],
      [
        isBetween(call, 'RunPodSandbox', 'RemovePodSandbox') ? 1 : 0,
        isBetween(call, 'CreateContainer', 'RemoveContainer') ? 1 : 0,
      ],
      `sandboxes and containers after ${call}, killed after "${steps.at(-1)}"`,
    );
  }
  return killed;
}

async function prepare(
  t: TestContext,
): Promise<{ mortal: MortalShim; image: string; check: (what: string) => Promise<void> }> {
  const registry = await startTestRegistry();
  t.after(() => registry[Symbol.asyncDispose]());
  const image = await registry.push(makeImage({ layers: [[{ name: 'hello', content: 'hello\n' }]] }), 'kill', '1');
  const mortal = await startMortalShim();
  t.after(() => mortal[Symbol.asyncDispose]());
  await mortal.shim.cri.node.ensureNetwork({ network: NETWORK });
  const { instance } = mortal.shim;
  // Folders appear at their first use.
  await live(mortal, { name: 'first', image, sandboxId: '', containerId: '' }, () => ({}));
  const before = await takeEmptySnapshot(instance);
  // conmon and the deletion of links end a moment after the answer.
  const check = async (what: string): Promise<void> => equalsSnapshot(instance, before, `a life in which ${what}`);
  return { mortal, image, check };
}

const DELICATE: readonly Readonly<Record<CallName, string>>[] = [
  {
    PullImage: 'write to a blob',
    RunPodSandbox: 'mount .*ns/ipc',
    CreateContainer: 'spawn .*conmon',
    StartContainer: 'rename .*containers/<id>.json$',
    ExecSync: 'spawn',
    UpdateContainerResources: 'memory.limit_in_bytes|memory.max',
    ReopenContainerLog: '^write$',
    StopContainer: 'kill',
    RemoveContainer: 'umount2 .*containers/<id>/merged',
    StopPodSandbox: 'umount2 .*ns/net',
    RemovePodSandbox: 'rm .*/s/<id>$',
    RemoveImage: 'rename .*index.json$',
  },
  {
    PullImage: 'worker: write',
    RunPodSandbox: 'rename .*network/sandboxes',
    CreateContainer: 'moveMount .*containers/<id>/merged',
    StartContainer: 'rm .*exec.fifo',
    ExecSync: 'writeFile .*exec-',
    UpdateContainerResources: 'rename .*containers/<id>.json$',
    ReopenContainerLog: 'open .*ctl',
    StopContainer: 'rename .*containers/<id>.json$',
    RemoveContainer: 'rm .*/b/<id>$',
    StopPodSandbox: 'umount2 .*/s/<id>/shm$',
    RemovePodSandbox: 'rm .*sandboxes/<id>.json$',
    RemoveImage: 'rename .*trash',
  },
];

test('the shim dies at the most delicate step of every call', { timeout: 300_000 }, async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'docker-registry', 'conmon')) return;
  const { mortal, image, check } = await prepare(t);
  for (const [index, steps] of DELICATE.entries()) {
    const life = { name: `delicate-${index}`, image, sandboxId: '', containerId: '' };
    const killed = await live(mortal, life, (call) => ({ match: steps[call] }));
    assert.deepEqual(
      killed.filter(({ died }) => !died).map(({ call }) => `${call} has no step ${steps[call]}`),
      [],
    );
    await check(JSON.stringify(steps));
  }
});

test('a shim that died in the middle dies again while it recovers', { timeout: 900_000 }, async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'docker-registry', 'conmon')) return;
  const { mortal, image, check } = await prepare(t);
  const { shim } = mortal;
  const middles = [
    ['CreateContainer', 'spawn .*conmon'],
    ['RemoveContainer', 'umount2 .*containers/<id>/merged'],
  ] as const;
  for (const [call, match] of isLong ? middles : middles.slice(0, 1)) {
    let isUp = false;
    for (let nth = 1; !isUp; nth += isLong ? 1 : 50) {
      const life: Life = { name: `again-${call}-${nth}`, image, sandboxId: '', containerId: '' };
      for (const name of names.slice(0, names.indexOf(call))) await CALLS[name](shim, life);
      isUp = await mortal.restart({ match }, () => CALLS[call](shim, life), { match: '', nth });
      if (!isUp) await shim.start();
      for (const name of names.slice(names.indexOf(call))) await CALLS[name](shim, life);
      await check(`the shim died in ${call}, and again after step ${nth} of its start`);
    }
  }
});

test('the shim dies at every step of every call', { timeout: 1_800_000 }, async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'docker-registry', 'conmon')) return;
  if (!requireFeature(t, isLong, 'takes minutes: npm run test:long')) return;
  const { mortal, image, check } = await prepare(t);
  let deaths = 0;
  for (let nth = 1; ; nth += 1) {
    const life = { name: `every-${nth}`, image, sandboxId: '', containerId: '' };
    const killed = (await live(mortal, life, () => ({ match: '', nth }))).filter(({ died }) => died);
    const where = killed.map(({ call, steps }) => `${call} died after "${steps.at(-1)}"`).join(', ');
    await check(where);
    if (killed.length === 0) break;
    deaths += killed.length;
  }
  t.diagnostic(`the shim was killed at ${deaths} steps`);
});
