// Time from the wish for a container to its running process, beside docker and plain runc, in one run.
//   node_modules/.bin/node bench/start.ts [--rounds 20] [--burst 20]
// Ours is measured at the API: POST of the Container until the watch says phase Running (warm image, default bridge,
// logs on). docker is `docker run -d` with the same image on its default bridge. Peers that are not installed are left
// out. dockerd runs in a network namespace of its own, on folders of its own, and is stopped afterwards.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createApiClient } from '../client/api-client.ts';
import { readKubeconfig } from '../client/kubeconfig.ts';
import { findProgram } from '../cli/preflight.ts';
import { containerKind, type Container } from '../crds/container.ts';
import { busyboxTar, importBusybox } from '../test/support/busybox.ts';
import { startInstance, type TestInstance } from '../test/support/instance.ts';
import { renderTable, summarise, timed, type Summary } from './measure.ts';
import { DOCKER_IMAGE, startDockerd } from './runtime/dockerd.ts';
import { PeerMissing, SLEEP } from './runtime/peer.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '20' }, burst: { type: 'string', default: '20' } },
});
const rounds = Number(values.rounds);
const burst = Number(values.burst);

interface Peer {
  readonly name: string;
  /** Starts one container and resolves when its process runs. */
  start(name: string): Promise<void>;
  remove(names: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

async function createWindlass(): Promise<Peer> {
  const instance: TestInstance = await startInstance();
  await importBusybox(instance);
  const api = createApiClient(readKubeconfig(instance.kubeconfig));
  const containers = api.kind<Container>(containerKind);
  const waiting = new Map<string, () => void>();
  const gone = new Map<string, () => void>();
  const stop = new AbortController();
  const { resourceVersion } = await containers.list({ namespace: 'default' });
  const watching = (async () => {
    for await (const event of containers.watch({ namespace: 'default', resourceVersion }, stop.signal)) {
      const { name } = event.object.metadata;
      if (event.type === 'DELETED') gone.get(name)?.();
      else if (event.object.status?.phase === 'Running') waiting.get(name)?.();
    }
  })().catch(() => undefined);
  return {
    name: 'windlass',
    async start(name) {
      const runs = new Promise<void>((resolve) => waiting.set(name, resolve));
      const spec = {
        imageName: 'busybox',
        command: ['sleep', '1000000'],
        terminationGracePeriodSeconds: 0,
      } as Container['spec'];
      await containers.create({ metadata: { name, namespace: 'default' }, spec });
      await runs;
    },
    async remove(names) {
      await Promise.all(
        names.map(async (name) => {
          const removed = new Promise<void>((resolve) => gone.set(name, resolve));
          await containers.delete(name, 'default');
          await removed;
        }),
      );
    },
    async close() {
      stop.abort();
      await watching;
      await api.close();
      await instance[Symbol.asyncDispose]();
    },
  };
}

async function createDocker(): Promise<Peer | undefined> {
  const daemon = await startDockerd({ tar: await busyboxTar() }).catch((error: unknown) => {
    if (error instanceof PeerMissing) return undefined;
    throw error;
  });
  if (!daemon) return undefined;
  const { docker, close } = daemon;
  return {
    name: 'docker run -d',
    start: (name) => docker('run', '-d', '--name', name, DOCKER_IMAGE, ...SLEEP),
    remove: (names) => docker('rm', '-f', ...names),
    close,
  };
}

/** The floor: `runc run -d` of the same files; no network, no logs, no API. */
async function createRunc(): Promise<Peer | undefined> {
  if (!findProgram('runc', process.env['PATH'])) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'windlass-bench-runc-'));
  mkdirSync(`${folder}/rootfs`);
  execFileSync('tar', ['-xf', await busyboxTar(), '-C', `${folder}/rootfs`]);
  execFileSync('runc', ['spec'], { cwd: folder });
  const spec = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8')) as {
    process: { terminal: boolean; args: string[] };
  };
  spec.process = { ...spec.process, terminal: false, args: ['sleep', '1000000'] };
  writeFileSync(`${folder}/config.json`, JSON.stringify(spec));
  const id = (name: string): string => `bench-${process.pid}-${name}`;
  const runc = (...args: string[]): Promise<void> =>
    new Promise((resolve, reject) => {
      // Standard streams are inherited by the container: a pipe would stay open as long as it lives.
      const child = spawn('runc', ['--root', `${folder}/state`, ...args], { cwd: folder, stdio: 'ignore' });
      child.once('exit', (code) =>
        code === 0 ? resolve() : reject(new Error(`runc ${args.join(' ')} ended with ${code}`)),
      );
    });
  return {
    name: 'runc run -d (floor)',
    start: (name) => runc('run', '-d', id(name)),
    remove: async (names) => {
      for (const name of names) await runc('delete', '--force', id(name));
    },
    close: () => Promise.resolve(rmSync(folder, { recursive: true, force: true })),
  };
}

interface Result {
  readonly name: string;
  readonly single: Summary;
  readonly burstPerContainerMs: number;
}

const peers = [await createWindlass(), await createDocker(), await createRunc()].filter((peer) => peer !== undefined);
const singles = new Map<string, number[]>(peers.map(({ name }) => [name, []]));
const results: Result[] = [];
try {
  // One start each, untimed, so that caches are warm; then round by round, so that drift of the machine hits all alike.
  for (const peer of peers) {
    await peer.start('warm');
    await peer.remove(['warm']);
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const peer of peers) {
      const name = `single-${round}`;
      singles.get(peer.name)?.push(await timed(() => peer.start(name)));
      await peer.remove([name]);
    }
  }
  for (const peer of peers) {
    const names = Array.from({ length: burst }, (_, index) => `burst-${index}`);
    const total = await timed(() => Promise.all(names.map((name) => peer.start(name))));
    await peer.remove(names);
    results.push({
      name: peer.name,
      single: summarise(singles.get(peer.name) ?? []),
      burstPerContainerMs: total / burst,
    });
  }
} finally {
  for (const peer of peers) await peer.close();
}

const ours = results[0];
const ratio = (theirs: number, mine: number | undefined): string =>
  mine === undefined ? '' : `${(theirs / mine).toFixed(1)}x`;
console.log(`${cpus().length} x ${cpus()[0]?.model.trim()}, Linux ${release()}, ${rounds} rounds, burst of ${burst}\n`);
console.log(
  renderTable(
    ['', 'one at a time: median', 'p99', `${burst} at once: per container`, 'ratio one', 'ratio burst'],
    results.map(({ name, single, burstPerContainerMs }) => [
      name,
      `${single.medianMs.toFixed(1)} ms`,
      `${single.p99Ms.toFixed(1)} ms`,
      `${burstPerContainerMs.toFixed(1)} ms`,
      ratio(single.medianMs, ours?.single.medianMs),
      ratio(burstPerContainerMs, ours?.burstPerContainerMs),
    ]),
  ),
);
