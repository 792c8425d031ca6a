// Debian's dockerd: once by its API, once by `docker run -d`.
import { DOCKER_IMAGE, startDockerd } from './dockerd.ts';
import { SLEEP, type Peer, type SharedInput } from './peer.ts';

/** Two peers over one daemon; the second one's close() ends it. */
export async function createDocker(input: SharedInput): Promise<[Peer, Peer]> {
  const daemon = await startDockerd(input);
  const { docker, call } = daemon;
  const security = ['--security-opt', `seccomp=${input.seccompFile}`];
  return [
    {
      name: 'docker API',
      async start(name) {
        const HostConfig = { SecurityOpt: [`seccomp=${input.seccomp}`] };
        const spec = { Image: DOCKER_IMAGE, Cmd: SLEEP, HostConfig };
        const { Id } = JSON.parse(await call('POST', `/containers/create?name=api-${name}`, spec)) as { Id: string };
        await call('POST', `/containers/${Id}/start`);
      },
      remove: async (name) => void (await call('DELETE', `/containers/api-${name}?force=true`)),
      async execTrue(name) {
        const wanted = { Cmd: ['/bin/true'], AttachStdout: true, AttachStderr: true };
        const { Id } = JSON.parse(await call('POST', `/containers/api-${name}/exec`, wanted)) as { Id: string };
        await call('POST', `/exec/${Id}/start`, { Detach: false, Tty: false });
      },
      close: () => Promise.resolve(),
    },
    {
      name: 'docker run -d',
      start: (name) => docker('run', '-d', '--name', name, ...security, DOCKER_IMAGE, ...SLEEP),
      remove: (name) => docker('rm', '-f', name),
      execTrue: (name) => docker('exec', name, '/bin/true'),
      close: daemon.close,
    },
  ];
}
