// What is measured of a CRI runtime, ours or another: sandbox, container, start; then stop and remove.
import { join } from 'node:path';
import type { CriClient } from '../../cri/client.ts';
import { SLEEP, type Peer, type SharedInput } from './peer.ts';

/** The calls of a kubelet, without what a peer adds around them. */
export function createCriCalls(
  cri: CriClient,
  input: SharedInput,
  options: { readonly image: string; readonly logs: string; readonly annotations: Readonly<Record<string, string>> },
): Pick<Peer, 'start' | 'remove' | 'execTrue'> {
  const sandboxes = new Map<string, { podSandboxId: string; containerId: string }>();
  const namespaceOptions = { network: 'POD', pid: 'CONTAINER', ipc: 'POD' } as const;
  const find = (name: string): { podSandboxId: string; containerId: string } => {
    const found = sandboxes.get(name);
    if (!found) throw new Error(`no container ${name}`);
    return found;
  };
  return {
    async start(name) {
      const sandboxConfig = {
        metadata: { name, uid: `uid-${name}`, namespace: 'bench', attempt: 0 },
        hostname: name,
        logDirectory: join(options.logs, name),
        annotations: options.annotations,
        linux: { securityContext: { namespaceOptions } },
      };
      const { podSandboxId } = await cri.runtime.runPodSandbox({ config: sandboxConfig });
      const { containerId } = await cri.runtime.createContainer({
        podSandboxId,
        sandboxConfig,
        config: {
          metadata: { name: 'main', attempt: 0 },
          image: { image: options.image },
          command: SLEEP,
          logPath: 'main.log',
          linux: {
            securityContext: {
              namespaceOptions,
              seccomp: { profileType: 'Localhost', localhostRef: input.seccompFile },
            },
          },
        },
      });
      await cri.runtime.startContainer({ containerId });
      sandboxes.set(name, { podSandboxId, containerId });
    },
    async remove(name) {
      const { podSandboxId, containerId } = find(name);
      await cri.runtime.stopContainer({ containerId, timeout: 0 });
      await cri.runtime.removeContainer({ containerId });
      await cri.runtime.stopPodSandbox({ podSandboxId });
      await cri.runtime.removePodSandbox({ podSandboxId });
      sandboxes.delete(name);
    },
    async execTrue(name) {
      const { containerId } = find(name);
      const { exitCode } = await cri.runtime.execSync({ containerId, cmd: ['/bin/true'], timeout: 60 });
      if (exitCode !== 0) throw new Error(`exec of true ended with ${exitCode}`);
    },
  };
}
