// Debian's dockerd on folders and in a net namespace of its own.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../../cli/preflight.ts';
import { runCommand } from '../../test/support/instance.ts';
import { waitFor } from '../../test/support/wait.ts';
import { makeNetns, makeRunFolder, PeerMissing, removeFolder, type SharedInput } from './peer.ts';

/** What both peers and Swarm's services run. */
export const DOCKER_IMAGE = 'busybox:bench';

export interface Dockerd {
  /** The command line; throws with its words when it fails. */
  docker(...command: string[]): Promise<void>;
  /** With what a client of another version finds the daemon. */
  readonly env: NodeJS.ProcessEnv;
  /** Leads a command into the daemon's net namespace. */
  readonly prefix: readonly string[];
  /** One request to the API; throws for a status from 400 on. */
  call(method: string, path: string, body?: object): Promise<string>;
  /** Ends the daemon and removes all it had. */
  close(): Promise<void>;
}

/** Starts it, with the benchmark's image if there is an input. Throws PeerMissing where it is not installed. */
export async function startDockerd(input?: Pick<SharedInput, 'tar'>): Promise<Dockerd> {
  for (const program of ['dockerd', 'docker'])
    if (!findProgram(program, process.env['PATH'])) throw new PeerMissing(`${program} is not installed`);
  const folder = mkdtempSync(join(tmpdir(), 'windlass-bench-docker-'));
  const run = makeRunFolder('docker');
  const netns = makeNetns('docker');
  const socketPath = `${folder}/docker.sock`;
  const [file = '', ...args] = [
    ...[...netns.prefix, 'dockerd', '--host', `unix://${socketPath}`],
    ...['--data-root', `${folder}/data`, '--exec-root', run],
    ...['--pidfile', `${folder}/pid`, '--storage-driver', 'overlay2'],
  ];
  const daemon: ChildProcess = spawn(file, args, { stdio: 'ignore' });
  const env = { ...process.env, DOCKER_HOST: `unix://${socketPath}`, DOCKER_CONFIG: folder };
  const docker = async (...command: string[]): Promise<void> => {
    const result = await runCommand('docker', command, { env });
    if (result.code !== 0) throw new Error(`docker ${command.join(' ')}: ${result.stderr}`);
  };
  const isUp = (): Promise<boolean> =>
    docker('version').then(
      () => true,
      () => false,
    );
  await waitFor(isUp, { timeoutMs: 60_000, what: 'dockerd' });
  if (input !== undefined) await docker('import', input.tar, DOCKER_IMAGE);

  const agent = new Agent({ keepAlive: true });
  const call = (method: string, path: string, body?: object): Promise<string> =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? '' : JSON.stringify(body);
      const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) };
      const outgoing = request({ socketPath, agent, method, path: `/v1.41${path}`, headers }, (response) => {
        let answer = '';
        response.on('data', (chunk: Buffer) => {
          answer += chunk.toString();
        });
        response.on('end', () => {
          if ((response.statusCode ?? 500) < 400) resolve(answer);
          else reject(new Error(`docker API: ${method} ${path}: ${response.statusCode} ${answer}`));
        });
      });
      outgoing.once('error', reject);
      outgoing.end(text);
    });

  return {
    docker,
    env,
    prefix: netns.prefix,
    call,
    async close() {
      agent.destroy();
      const ended = new Promise((resolve) => daemon.once('exit', resolve));
      process.kill(Number(readFileSync(`${folder}/pid`, 'utf8')), 'SIGTERM');
      await ended;
      netns.close();
      for (const path of [run, folder]) removeFolder(path);
    },
  };
}
