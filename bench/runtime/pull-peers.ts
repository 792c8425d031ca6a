// The programs that a pull is measured beside. Each works on folders of its own and leaves no service behind; one that
// is not installed is left out.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../../cli/preflight.ts';
import { runCommand } from '../../test/support/instance.ts';
import { startTestShim } from '../../test/support/shim.ts';
import { waitFor } from '../../test/support/wait.ts';
import { cpuMsOfChildren, cpuMsOfProcess } from './cpu-time.ts';
import { readKernelText } from '../../lib/kernel-file.ts';

export interface PullPeer {
  readonly name: string;
  /** Pulls and unpacks an image that it has never seen. */
  pull(reference: string): Promise<void>;
  /** Processor time in ms that this peer has used so far, with all processes it started. */
  cpuMs(): number;
  close(): Promise<void>;
}

/** Every peer there is on this machine, ours first. */
export async function startPullPeers(): Promise<PullPeer[]> {
  const peers: PullPeer[] = [];
  try {
    for (const start of [startWindlass, startDocker, startPodman, startContainerd, startUmoci]) {
      const peer = await start();
      if (peer) peers.push(peer);
    }
    return peers;
  } catch (error) {
    for (const peer of peers) await peer.close();
    throw error;
  }
}

/** A shim of its own, asked through CRI as a kubelet would. */
async function startWindlass(): Promise<PullPeer> {
  const shim = await startTestShim();
  const pid = shim.process.pid as number;
  return {
    name: 'windlass',
    pull: async (image) => void (await shim.cri.images.pullImage({ image: { image } })),
    cpuMs: () => cpuMsOfProcess(pid),
    close: async () => shim[Symbol.asyncDispose](),
  };
}

async function startDocker(): Promise<PullPeer | undefined> {
  if (!has('dockerd') || !has('docker')) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'windlass-bench-docker-'));
  const host = `unix://${folder}/docker.sock`;
  const daemon = spawn(
    'dockerd',
    [
      ...['--host', host, '--data-root', `${folder}/data`, '--exec-root', `${folder}/exec`],
      ...['--pidfile', `${folder}/pid`, '--storage-driver', 'overlay2'],
      // A pull needs no network of its own, so the host's stays as it is.
      ...['--bridge', 'none', '--iptables=false', '--ip-forward=false', '--ip-masq=false'],
    ],
    { stdio: 'ignore' },
  );
  const env = { ...process.env, DOCKER_HOST: host, DOCKER_CONFIG: folder };
  return onceReady(
    {
      name: 'docker pull',
      pull: (reference) => run('docker', ['pull', '--quiet', reference], env),
      cpuMs: () => cpuMsOfProcess(daemon.pid as number) + cpuMsOfChildren(),
      close: () => endDaemon(daemon, folder),
    },
    () => run('docker', ['version'], env),
  );
}

async function startPodman(): Promise<PullPeer | undefined> {
  if (!has('podman')) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'windlass-bench-podman-'));
  const store = ['--root', `${folder}/root`, '--runroot', `${folder}/run`, '--storage-driver', 'overlay'];
  return {
    name: 'podman pull',
    pull: (reference) => run('podman', [...store, 'pull', '--quiet', '--tls-verify=false', reference]),
    cpuMs: cpuMsOfChildren,
    async close() {
      removeTree(folder);
    },
  };
}

async function startContainerd(): Promise<PullPeer | undefined> {
  if (!has('containerd') || !has('ctr')) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'windlass-bench-containerd-'));
  const config = {
    version: 2,
    root: `${folder}/root`,
    state: `${folder}/state`,
    disabled_plugins: ['io.containerd.grpc.v1.cri'],
    grpc: { address: `${folder}/containerd.sock` },
  };
  writeFileSync(`${folder}/config.toml`, toToml(config));
  const daemon = spawn('containerd', ['--config', `${folder}/config.toml`], { stdio: 'ignore' });
  const address = ['--address', config.grpc.address];
  return onceReady(
    {
      name: 'ctr image pull',
      pull: (reference) => run('ctr', [...address, 'image', 'pull', '--plain-http', reference]),
      cpuMs: () => cpuMsOfProcess(daemon.pid as number) + cpuMsOfChildren(),
      close: () => endDaemon(daemon, folder),
    },
    () => run('ctr', [...address, 'version']),
  );
}

/** Two programs in a row: a copy as OCI layout, and its unpacking. */
async function startUmoci(): Promise<PullPeer | undefined> {
  if (!has('skopeo') || !has('umoci')) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'windlass-bench-umoci-'));
  let pulls = 0;
  return {
    name: 'skopeo copy, umoci unpack',
    async pull(reference) {
      const own = join(folder, String((pulls += 1)));
      mkdirSync(own);
      await run('skopeo', [
        'copy',
        '--quiet',
        '--src-tls-verify=false',
        `docker://${reference}`,
        `oci:${own}/layout:x`,
      ]);
      await run('umoci', ['unpack', '--image', `${own}/layout:x`, `${own}/bundle`]);
    },
    cpuMs: cpuMsOfChildren,
    async close() {
      removeTree(folder);
    },
  };
}

async function onceReady(peer: PullPeer, ask: () => Promise<void>): Promise<PullPeer> {
  const answers = (): Promise<boolean> =>
    ask().then(
      () => true,
      () => false,
    );
  try {
    await waitFor(answers, { timeoutMs: 60_000, what: peer.name });
    return peer;
  } catch (error) {
    await peer.close();
    throw error;
  }
}

async function endDaemon(daemon: ChildProcess, folder: string): Promise<void> {
  const ended = new Promise((resolve) => daemon.once('exit', resolve));
  if (daemon.exitCode === null && daemon.kill('SIGTERM')) await ended;
  removeTree(folder);
}

/** Unmounts what the peer left mounted below its folder, then deletes it. */
function removeTree(folder: string): void {
  const mounts = readKernelText('/proc/self/mounts').split('\n');
  const below = mounts.map((line) => line.split(' ')[1] ?? '').filter((path) => path.startsWith(`${folder}/`));
  for (const path of below.toReversed()) execFileSync('umount', ['-l', path]);
  rmSync(folder, { recursive: true, force: true });
}

async function run(program: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<void> {
  const { code, stderr } = await runCommand(program, [...args], env === undefined ? {} : { env });
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
}

const has = (program: string): boolean => findProgram(program, process.env['PATH']) !== undefined;

/** One level of tables is all that a containerd configuration needs here. */
function toToml(config: Readonly<Record<string, unknown>>): string {
  const isTable = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  const lines = (table: Readonly<Record<string, unknown>>): string[] =>
    Object.entries(table)
      .filter(([, value]) => !isTable(value))
      .map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  const tables = Object.entries(config).flatMap(([key, value]) =>
    isTable(value) ? [`[${key}]`, ...lines(value)] : [],
  );
  return [...lines(config), ...tables, ''].join('\n');
}
