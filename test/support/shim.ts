// A runtime shim of its own for a test: real process, temporary folders, everything gone at the end. What a crashed run
// left is found by its folder's name and purged first.
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createCriClient, type CriClient } from '../../cri/client.ts';
import type { ContainerConfig, ContainerStatus, Draft, PodSandboxConfig } from '../../cri/messages.ts';
import { describeInstance, paths, type Instance } from '../../lib/instance.ts';
import type { RunConfig } from '../../oci/manifest.ts';
import { umountTree } from '../../runtime-shim/host/mount.ts';
import { purgeInstance } from '../../runtime-shim/purge.ts';
import { busyboxFiles, makeImage, writeOciLayout, type TarItem } from './images.ts';
import { forLeftOvers } from './left-overs.ts';
import { waitFor } from './wait.ts';

const PREFIX = 'windlass-shim-';
const program = fileURLToPath(new URL('../../runtime-shim/main.ts', import.meta.url));
export const BUSYBOX = 'windlass.local/busybox:1';

export interface TestShim extends AsyncDisposable {
  readonly instance: Instance;
  readonly cri: CriClient;
  readonly logs: string;
  readonly process: ChildProcess;
  /** Starts the process again after kill(). */
  start(): Promise<void>;
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>;
  stop(): Promise<void>;
  /** Imports an image of these entries and returns its id. */
  importImage(items: readonly TarItem[], config?: RunConfig, name?: string): Promise<string>;
  /** A sandbox without networks unless said otherwise. */
  runSandbox(name: string, config?: Draft<PodSandboxConfig>): Promise<string>;
  /** Creates a container of the busybox image. */
  create(sandboxId: string, config: Draft<ContainerConfig>): Promise<string>;
  /** Sandbox, container, start; the container's id. */
  run(name: string, config: Draft<ContainerConfig>, sandbox?: Draft<PodSandboxConfig>): Promise<string>;
  status(containerId: string): Promise<ContainerStatus>;
  waitForExit(containerId: string): Promise<ContainerStatus>;
  /** Output of a command in a running container. */
  exec(containerId: string, ...cmd: string[]): Promise<string>;
  /** Lines of a container's log without time, stream and tag. */
  readLog(containerId: string): Promise<string[]>;
}

export interface TestShimOptions {
  /** Further flags of the shim; asked for at each start. */
  readonly flags?: readonly string[] | (() => readonly string[]);
  /** Sandboxes made ahead; tests that compare the whole host before and after want none. */
  readonly sandboxPool?: number;
  /** Further variables of its environment; asked for at each start. */
  readonly env?: () => Readonly<Record<string, string>>;
  /** Flags of Node itself. */
  readonly nodeFlags?: readonly string[];
  /** Called with the folder that will hold home, run and logs, before anything is in it. */
  readonly prepare?: (root: string) => void;
}

/** Starts a shim with a busybox image in it. */
export async function startTestShim(options: TestShimOptions = {}): Promise<TestShim> {
  await forLeftOvers(PREFIX, (root) => purgeShim(describeInstance(join(root, 'home'), join(root, 'run')), root));
  const root = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  options.prepare?.(root);
  // As /run and /var/lib are: root of a user namespace, who is somebody else outside, passes through.
  chmodSync(root, 0o711);
  const [home, run, logs] = ['home', 'run', 'logs'].map((name) => join(root, name)) as [string, string, string];
  const instance = describeInstance(home, run);
  const cri = createCriClient({ socketPath: paths.criSocket(instance) });
  let child = await spawnShim(instance, cri, options);
  let images = 0;
  const namespaceOptions = { network: 'POD', pid: 'CONTAINER', ipc: 'POD' } as const;
  const shim: TestShim = {
    ...{ instance, cri, logs },
    get process() {
      return child;
    },
    async start() {
      child = await spawnShim(instance, cri, options);
    },
    kill: () => endChild(child, 'SIGKILL'),
    stop: () => endChild(child, 'SIGTERM'),
    async importImage(items, config = { Cmd: ['sh'] }, name = `windlass.local/test-${(images += 1)}:1`) {
      const folder = join(root, `image-${(images += 1)}`);
      mkdirSync(folder);
      writeOciLayout(folder, makeImage({ layers: [items], config: { Env: ['PATH=/bin'], ...config } }));
      return (await cri.node.importImage({ path: folder, references: [name] })).imageId;
    },
    async runSandbox(name, config = {}) {
      const { podSandboxId } = await cri.runtime.runPodSandbox({
        config: {
          metadata: { name, uid: `uid-${name}`, namespace: 'test', attempt: 0 },
          hostname: name,
          logDirectory: join(logs, name),
          annotations: { 'network.windlass.dev/attachments': '[]' },
          linux: { securityContext: { namespaceOptions } },
          ...config,
        },
      });
      return podSandboxId;
    },
    async create(podSandboxId, config) {
      const answer = await cri.runtime.createContainer({
        podSandboxId,
        config: {
          metadata: { name: 'main', attempt: 0 },
          image: { image: BUSYBOX },
          logPath: 'main.log',
          linux: {
            ...config.linux,
            securityContext: {
              seccomp: { profileType: 'RuntimeDefault' },
              namespaceOptions,
              ...config.linux?.securityContext,
            },
          },
          ...omitLinux(config),
        },
      });
      return answer.containerId;
    },
    async run(name, config, sandbox) {
      const containerId = await shim.create(await shim.runSandbox(name, sandbox), config);
      await cri.runtime.startContainer({ containerId });
      return containerId;
    },
    async status(containerId) {
      const { status } = await cri.runtime.containerStatus({ containerId });
      if (!status) throw new Error('no status');
      return status;
    },
    waitForExit: (containerId) =>
      waitFor(
        async () => {
          const status = await shim.status(containerId);
          return status.state === 'CONTAINER_EXITED' && status;
        },
        { what: 'the end of the container', timeoutMs: 20_000 },
      ),
    async exec(containerId, ...cmd) {
      const { stdout, stderr, exitCode } = await cri.runtime.execSync({ containerId, cmd, timeout: 20 });
      if (exitCode !== 0) throw new Error(`${cmd.join(' ')} ended with ${exitCode}: ${stderr.toString()}`);
      return stdout.toString().trim();
    },
    async readLog(containerId) {
      const { logPath } = await shim.status(containerId);
      const lines = readFileSync(logPath, 'utf8').split('\n').filter(Boolean);
      return lines.map((line) => line.split(' ').slice(3).join(' '));
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        const { items } = await cri.runtime.listPodSandbox({});
        await Promise.all(items.map(({ id }) => cri.runtime.removePodSandbox({ podSandboxId: id })));
      }
      cri[Symbol.dispose]();
      await endChild(child, 'SIGTERM');
      await purgeShim(instance, root);
    },
  };
  try {
    await shim.importImage(busyboxFiles(), { Cmd: ['sh'] }, BUSYBOX);
  } catch (error) {
    await shim[Symbol.asyncDispose]();
    throw error;
  }
  return shim;
}

function omitLinux(config: Draft<ContainerConfig>): Draft<ContainerConfig> {
  const { linux: _, ...rest } = config;
  return rest;
}

async function spawnShim(
  instance: Instance,
  cri: CriClient,
  { flags = [], nodeFlags = [], env = () => ({}), sandboxPool }: TestShimOptions,
): Promise<ChildProcess> {
  const args = [
    '--home',
    instance.home,
    '--run',
    instance.run,
    '--log-level',
    'warn',
    ...(sandboxPool === undefined ? [] : ['--sandbox-pool', String(sandboxPool)]),
    ...(typeof flags === 'function' ? flags() : flags),
  ];
  const child = spawn(process.execPath, [...nodeFlags, program, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // Sandboxes kept ready come and go by themselves: no host would look the same twice.
    env: { ...process.env, WINDLASS_SANDBOX_POOL: '0', ...env() },
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  try {
    await waitFor(
      async () => {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the shim ended: ${errors}`);
        return cri.runtime.version({}, { timeoutMs: 1000 }).then(
          () => true,
          () => false,
        );
      },
      { what: 'the shim', timeoutMs: 60_000 },
    );
  } catch (error) {
    // One that goes on alone would keep the test process, and with it the whole run, from its end.
    await endChild(child, 'SIGKILL');
    throw error;
  }
  return child;
}

async function endChild(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise((resolve) => {
    child.once('exit', resolve);
    child.kill(signal);
  });
}

async function purgeShim(instance: Instance, root: string): Promise<void> {
  await purgeInstance(instance);
  umountTree(root);
  rmSync(root, { recursive: true, force: true });
}
