// Our runtime shim as a process of its own, on folders and in a net namespace of its own.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as components from '../../cli/components.ts';
import { createCriClient } from '../../cri/client.ts';
import { findProgram } from '../../cli/preflight.ts';
import { describeInstance, kernelNames, paths } from '../../lib/instance.ts';
import { makeImage, writeOciLayout } from '../../test/support/images.ts';
import { waitFor } from '../../test/support/wait.ts';
import { createCriCalls } from './cri.ts';
import {
  IMAGE_FILES,
  makeNetns,
  makeRunFolder,
  PeerMissing,
  removeFolder,
  runDetached,
  type Peer,
  type SharedInput,
} from './peer.ts';

const IMAGE = 'bench.local/busybox:1';
const NETWORK = {
  ...{ id: 'default', internal: false, isolated: false, mtu: 1500, domain: 'default' },
  subnets: [{ cidr: '10.214.0.0/16', gateway: '10.214.0.1', ranges: [] }],
};
const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url));
const CPU_ACCOUNTS = '/sys/fs/cgroup/cpuacct';

export interface ShimPeer extends Peer {
  readonly pid: number;
  /** Its run folder. */
  readonly run: string;
  /**
   * Starts to look for the longest turns of the event loop; asked again, ends that and tells them. In between the shim has
   * a thousand timers a second that nobody else's has.
   */
  longestTurn(): Promise<{ wallMs: number; cpuMs: number }>;
  /** Processor time so far of the shim, the monitors, the OCI runtimes and the containers; cgroup v1 only. */
  cpuMs(): number;
}

export interface ShimOptions {
  readonly ociRuntime: 'crun' | 'runc';
  /** 0 = every sandbox is made when it is asked for. */
  readonly poolSize: number;
  /** Where its code is; this checkout unless given. */
  readonly checkout?: string;
}

/** Starts a shim with the image and the network in it. */
export async function createShim(input: SharedInput, options: ShimOptions): Promise<ShimPeer> {
  const { ociRuntime, poolSize, checkout = CHECKOUT } = options;
  const program = (path: string): string => join(checkout, path);
  for (const name of ['conmon', ociRuntime])
    if (!findProgram(name, process.env['PATH'])) throw new PeerMissing(`${name} is not installed`);
  const flags = (await import(program('cli/components.ts'))) as typeof components;
  const root = mkdtempSync(join(tmpdir(), 'windlass-bench-shim-'));
  const run = makeRunFolder('shim');
  const instance = describeInstance(join(root, 'home'), run);
  const netns = makeNetns(`${ociRuntime}-${poolSize}-${basename(root).slice(-6)}`);
  const probe = join(root, 'probe.json');
  const [file = '', ...args] = [
    ...[...netns.prefix, process.execPath, ...flags.shimFlags, '--import', program('bench/runtime/loop-probe.ts')],
    ...[program('runtime-shim/main.ts'), '--home', instance.home, '--run', instance.run],
    ...['--log-level', 'warn', '--oci-runtime', ociRuntime, '--sandbox-pool', String(poolSize)],
  ];
  const child = spawn(file, args, {
    stdio: ['ignore', 'inherit', 'inherit'],
    // As bin/windlass starts it: from the second start on, no type is stripped and nothing compiled.
    env: {
      ...process.env,
      ...flags.shimEnv,
      WINDLASS_LOOP_PROBE: probe,
      NODE_COMPILE_CACHE: program('node_modules/.cache/windlass'),
    },
  });
  // A group per shim counts what the kernel charges to it and to what it starts; the containers' groups are elsewhere.
  const account = join(CPU_ACCOUNTS, basename(root));
  const hasAccount = existsSync(CPU_ACCOUNTS);
  if (hasAccount) {
    mkdirSync(account);
    writeFileSync(join(account, 'cgroup.procs'), String(child.pid));
  }
  const cri = createCriClient({ socketPath: paths.criSocket(instance) });
  const isUp = (): Promise<boolean> =>
    cri.runtime.version({}, { timeoutMs: 1000 }).then(
      () => true,
      () => false,
    );
  await waitFor(isUp, { timeoutMs: 30_000, what: 'the shim' });
  const layout = join(root, 'image');
  mkdirSync(layout);
  writeOciLayout(layout, makeImage({ layers: [IMAGE_FILES], config: { Cmd: ['sh'], Env: ['PATH=/bin'] } }));
  await cri.node.importImage({ path: layout, references: [IMAGE] });
  await cri.node.ensureNetwork({ network: NETWORK });
  const calls = createCriCalls(cri, input, { image: IMAGE, logs: join(root, 'logs'), annotations: {} });
  return {
    name: `windlass shim, ${ociRuntime}, ${poolSize > 0 ? 'pooled' : 'cold'}`,
    ...calls,
    pid: child.pid ?? 0,
    run,
    cpuMs() {
      if (!hasAccount) throw new Error('processor time is read from cgroup v1, which is not mounted');
      const groups = [account, join(CPU_ACCOUNTS, kernelNames.cgroupParent(instance))];
      return groups.reduce((sum, group) => sum + Number(readFileSync(join(group, 'cpuacct.usage'), 'utf8')) / 1e6, 0);
    },
    async longestTurn() {
      rmSync(probe, { force: true });
      child.kill('SIGUSR2');
      await waitFor(() => existsSync(probe) && readFileSync(probe, 'utf8') !== '', { what: 'the probe' });
      return JSON.parse(readFileSync(probe, 'utf8')) as { wallMs: number; cpuMs: number };
    },
    async close() {
      cri[Symbol.dispose]();
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
      const folders = ['--home', instance.home, '--run', instance.run];
      await runDetached([...netns.prefix, process.execPath, program('runtime-shim/purge.ts'), ...folders]);
      netns.close();
      for (const path of [run, root]) removeFolder(path);
      if (hasAccount) rmdirSync(account);
    },
  };
}
