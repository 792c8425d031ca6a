// A real etcd on free ports with its data in a temporary folder.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../cli/ports.ts';

export interface TestEtcd extends AsyncDisposable {
  readonly url: string;
  /** kill -9 */
  kill(): Promise<void>;
  /** SIGSTOP makes it hang, SIGCONT wakes it. */
  signal(signal: NodeJS.Signals): void;
  /** Starts again on the same ports with the same data. */
  start(): Promise<void>;
}

const freeUrl = async (): Promise<string> => `http://127.0.0.1:${(await freePorts(1))[0]}`;

/** Starts etcd and waits until it answers; `start: false` only reserves its place. */
export async function startTestEtcd(options: { start?: boolean } = {}): Promise<TestEtcd> {
  const member = await createMember({ name: 'default', peers: { default: await freeUrl() } });
  if (options.start !== false) await member.start();
  return member;
}

/** A cluster of `count` members, each of which can be killed by itself. */
export async function startTestEtcdMembers(count: number): Promise<readonly TestEtcd[]> {
  const peers: Record<string, string> = {};
  for (let number = 1; number <= count; number += 1) peers[`m${number}`] = await freeUrl();
  const members = await Promise.all(Object.keys(peers).map((name) => createMember({ name, peers })));
  await Promise.all(members.map((member) => member.start()));
  return members;
}

interface Membership {
  readonly name: string;
  /** URLs for each other, by name. */
  readonly peers: Readonly<Record<string, string>>;
}

async function createMember({ name, peers }: Membership): Promise<TestEtcd> {
  const folder = await mkdtemp(join(tmpdir(), 'windlass-etcd-'));
  const url = await freeUrl();
  const peer = peers[name] ?? '';
  const all = Object.entries(peers).map(([member, at]) => `${member}=${at}`);
  let child: ChildProcess | undefined;

  const kill = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  const start = async (): Promise<void> => {
    child = spawn(
      'etcd',
      [
        ...['--data-dir', join(folder, 'data'), '--listen-client-urls', url, '--advertise-client-urls', url],
        ...['--name', name, '--initial-cluster', all.join(',')],
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
        ...['--logger', 'zap', '--log-level', 'error'],
      ],
      { stdio: 'ignore' },
    );
    for (let attempt = 0; attempt < 200; attempt += 1) {
      const answer = await fetch(`${url}/health`).catch(() => undefined);
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error('etcd did not start');
  };
  return {
    url,
    kill,
    signal: (signal) => void child?.kill(signal),
    start,
    async [Symbol.asyncDispose]() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
