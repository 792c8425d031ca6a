// From a snapshot to a data folder that etcd starts from, with the revision raised above what may have been handed out.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WindlassError } from '../../lib/errors.ts';
import { paths, type Instance } from '../../lib/instance.ts';
import { etcdArguments } from '../components.ts';
import { findProgram } from '../preflight.ts';
import type { EtcdMember } from '../etcd-member.ts';
import { compactTime, systemClock } from '../../lib/clock.ts';

const READY_TIMEOUT_MS = 30_000;

export interface Recovery {
  readonly file: string;
  readonly member: EtcdMember;
  readonly raiseBy: number;
  readonly path: string | undefined;
  readonly now: number;
}

/** Restores `file` in place of the instance's etcd data; answers where the old data is kept, if there was any. */
export async function restore(
  instance: Instance,
  recovery: Recovery,
  signal: AbortSignal,
): Promise<string | undefined> {
  const fresh = paths.etcdRecovered(instance);
  const pki = (name: string): string => join(paths.pki(instance), name);
  rmSync(fresh, { recursive: true, force: true });
  try {
    await unpack(recovery, fresh, signal);
    await raiseRevision({ args: etcdArguments(instance, recovery.member, pki, fresh), pki, recovery }, signal);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    throw error;
  }
  const old = `${paths.etcdData(instance)}.before-${compactTime(recovery.now)}`;
  const hadData = moveAway(paths.etcdData(instance), old);
  renameSync(fresh, paths.etcdData(instance));
  return hadData ? old : undefined;
}

async function unpack({ file, member, path }: Recovery, folder: string, signal: AbortSignal): Promise<void> {
  // From 3.6 on the first does it, before that the second.
  const program = findProgram('etcdutl', path) ?? findProgram('etcdctl', path);
  if (program === undefined) {
    throw new WindlassError(
      'NotFound',
      'missing program: etcdctl or etcdutl; install it with: apt-get install etcd-client',
    );
  }
  await run(
    program,
    [
      ...['snapshot', 'restore', file, '--data-dir', folder, '--name', member.name],
      ...['--initial-cluster', `${member.name}=${member.peerUrl}`, '--initial-advertise-peer-urls', member.peerUrl],
    ],
    { ETCDCTL_API: '3' },
    signal,
  );
}

async function raiseRevision(
  { args, pki, recovery }: { args: readonly string[]; pki: (name: string) => string; recovery: Recovery },
  signal: AbortSignal,
): Promise<void> {
  const program = findProgram('etcd', recovery.path);
  if (program === undefined) {
    throw new WindlassError('NotFound', 'missing program: etcd; install it with: apt-get install etcd-server');
  }
  // Whatever becomes of this process, a crash included, nothing of it is left to hold the folder.
  const within = findProgram('setpriv', recovery.path);
  const words = [...(within === undefined ? [] : [within, '--pdeathsig', 'KILL']), program, ...args];
  const etcd = spawn(words[0] as string, words.slice(1), { stdio: 'ignore' });
  const ended = once(etcd, 'exit');
  try {
    await waitForHealth(recovery.member.ports.metrics, signal);
    await run(
      process.execPath,
      [
        fileURLToPath(new URL('../../apiserver/raise-revision.ts', import.meta.url)),
        ...['--etcd-servers', `https://127.0.0.1:${recovery.member.ports.client}`, '--etcd-ca', pki('etcd-ca.crt')],
        ...[
          '--etcd-cert',
          pki('etcd-client.crt'),
          '--etcd-key',
          pki('etcd-client.key'),
          '--by',
          String(recovery.raiseBy),
        ],
      ],
      {},
      signal,
    );
  } finally {
    etcd.kill('SIGTERM');
    await ended;
  }
}

async function waitForHealth(port: number, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.timeout(READY_TIMEOUT_MS);
  while (!limit.aborted) {
    signal.throwIfAborted();
    const health = await fetch(`http://127.0.0.1:${port}/health`, { signal: limit })
      .then((response) => response.json() as Promise<{ health?: string }>)
      // It does not listen yet.
      .catch(() => ({ health: 'false' }));
    if (health.health === 'true') return;
    await systemClock.sleep(100, signal);
  }
  throw new WindlassError('Timeout', `etcd did not start from the snapshot within ${READY_TIMEOUT_MS / 1000} s`);
}

/** False when there is nothing to move. */
function moveAway(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function run(file: string, args: readonly string[], env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<void> {
  const child = spawn(file, [...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...env },
    signal,
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-4_096)));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code === 0) return;
  throw new WindlassError('Internal', `${file} failed: ${said.trim().split('\n').at(-1) ?? 'no reason given'}`);
}
