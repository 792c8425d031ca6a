// Debian's dockerd on folders and in a net namespace of its own: once by its API, once by `docker run -d`.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../../cli/preflight.ts';
import { runCommand } from '../../test/support/instance.ts';
import { waitFor } from '../../test/support/wait.ts';
import { makeNetns, makeRunFolder, PeerMissing, removeFolder, SLEEP, type Peer, type SharedInput } from './peer.ts';

const IMAGE = 'busybox:bench';

/** Two peers over one daemon; the second one's close() ends it. */
export async function createDocker(input: SharedInput): Promise<[Peer, Peer]> {
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
  const docker = async (...command: string[]): Promise<void> => {
    const result = await runCommand('docker', command, {
      env: { ...process.env, DOCKER_HOST: `unix://${socketPath}`, DOCKER_CONFIG: folder },
    });
    if (result.code !== 0) throw new Error(`docker ${command.join(' ')}: ${result.stderr}`);
  };
  const isUp = (): Promise<boolean> =>
    docker('version').then(
      () => true,
      () => false,
    );
  await waitFor(isUp, { timeoutMs: 60_000, what: 'dockerd' });
  await docker('import', input.tar, IMAGE);

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

  const security = ['--security-opt', `seccomp=${input.seccompFile}`];
  return [
    {
      name: 'docker API',
      async start(name) {
        const HostConfig = { SecurityOpt: [`seccomp=${input.seccomp}`] };
        const spec = { Image: IMAGE, Cmd: SLEEP, HostConfig };
        const { Id } = JSON.parse(await call('POST', `/containers/create?name=api-${name}`, spec)) as { Id: string };
        await call('POST', `/containers/${Id}/start`);
      },
      remove: async (name) => void (await call('DELETE', `/containers/api-${name}?force=true`)),
      async execTrue(name) {
        const wanted = { Cmd: ['/bin/true'], AttachStdout: true, AttachStderr: true };
        const { Id } = JSON.parse(await call('POST', `/containers/api-${name}/exec`, wanted)) as { Id: string };
        await call('POST', `/exec/${Id}/start`, { Detach: false, Tty: false });
      },
      close: () => Promise.resolve(agent.destroy()),
    },
    {
      name: 'docker run -d',
      start: (name) => docker('run', '-d', '--name', name, ...security, IMAGE, ...SLEEP),
      remove: (name) => docker('rm', '-f', name),
      execTrue: (name) => docker('exec', name, '/bin/true'),
      async close() {
        const ended = new Promise((resolve) => daemon.once('exit', resolve));
        process.kill(Number(readFileSync(`${folder}/pid`, 'utf8')), 'SIGTERM');
        await ended;
        netns.close();
        for (const path of [run, folder]) removeFolder(path);
      },
    },
  ];
}
