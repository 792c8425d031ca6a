// Hosts with nothing on them but the windlass command: what tests start from that do all as a user does.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createCriClient } from '../../../cri/client.ts';
import { describeInstance, paths, type Instance } from '../../../lib/instance.ts';
import { busyboxFiles, makeImage, writeOciLayout } from '../images.ts';
import { runCommand, type CommandResult } from '../instance.ts';
import { BUSYBOX, makeRoot } from '../cluster.ts';
import { curlArguments } from './node.ts';
import { createMachine, type Machine } from './machine.ts';
import { createUnderlay, hostAddresses } from './underlay.ts';

const windlassProgram = fileURLToPath(new URL('../../../bin/windlass', import.meta.url));

export interface BareHost {
  /** `node-1` and so on; the host is called that. */
  readonly name: string;
  readonly ipv4: string;
  readonly instance: Instance;
  readonly machine: Machine;
  /** The command on that host, about its instance or another one there; never throws for an exit code. */
  windlass(args: readonly string[], instance?: Instance): Promise<CommandResult>;
  /** Output of a shell script on the host; throws when it fails. */
  sh(script: string): Promise<string>;
  /** Brings BUSYBOX to its runtime, as no registry is there. */
  importBusybox(): Promise<void>;
}

export interface BareHosts extends AsyncDisposable {
  readonly root: string;
  readonly hosts: readonly BareHost[];
  /** On the first host, beside its node: what runs the control plane there. */
  readonly server: Instance;
  /** kubectl on the first host, with the kubeconfig of that server; never throws for an exit code. */
  kubectl(args: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<CommandResult>;
  /** kubectl that must succeed: its stdout. */
  kubectlOk(args: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<string>;
  /** Body of a request from the wire; undefined when there was no answer in time. */
  curl(url: string, timeoutSeconds?: number): Promise<string | undefined>;
}

/**
 * `count` hosts on a wire. `env` is that of every windlass command. Needs root. As with startCluster(), the test process
 * moves into the wire's namespace until they are disposed, so there is one of the two per process at a time.
 */
export async function startBareHosts(count: number, env: Readonly<Record<string, string>> = {}): Promise<BareHosts> {
  await using cleanup = new AsyncDisposableStack();
  const root = await makeRoot(cleanup);
  const underlay = cleanup.use(createUnderlay());
  const layout = join(root, 'busybox');
  mkdirSync(layout);
  writeOciLayout(layout, makeImage({ layers: [busyboxFiles()], config: { Cmd: ['sh'], Env: ['PATH=/bin'] } }));
  const kube = join(root, 'kube');
  mkdirSync(kube);
  const words = ['env', ...Object.entries(env).map(([name, value]) => `${name}=${value}`), windlassProgram];
  const hosts = Array.from({ length: count }, (_, index): BareHost => {
    const name = `node-${index + 1}`;
    const instance = describeInstance(join(root, name, 'home'), join(root, name, 'run'));
    const machine = createMachine(name, instance);
    return {
      ...{ name, instance, machine, ipv4: hostAddresses(index + 1).ipv4 },
      windlass: (args, { home, run } = instance) => machine.run([...words, ...args, '--home', home, '--run', run]),
      async sh(script) {
        const { code, stdout, stderr } = await machine.run(['sh', '-c', script]);
        if (code !== 0) throw new Error(`${name}: ${script} ended with ${code}: ${stderr}${stdout}`);
        return stdout.trim();
      },
      async importBusybox() {
        using cri = createCriClient({ socketPath: machine.pathOf(paths.criSocket(instance)) });
        await cri.node.importImage({ path: layout, references: [BUSYBOX] });
      },
    };
  });
  cleanup.defer(async () => {
    await Promise.all(hosts.map(({ machine }) => machine.powerOff()));
  });
  for (const [index, { name, machine }] of hosts.entries()) {
    await machine.powerOn();
    underlay.plug(name, index + 1, machine.pid());
  }
  const server = describeInstance(join(root, 'node-1', 'server'), join(root, 'node-1', 'server-run'));
  const kubectlWords = ['env', `HOME=${kube}`, `KUBECONFIG=${paths.adminKubeconfig(server)}`, 'NO_COLOR=1', 'kubectl'];
  const kubectl: BareHosts['kubectl'] = (args, given = {}) =>
    (hosts[0] as BareHost).machine.run([...kubectlWords, ...args], given);
  const owned = cleanup.move();
  return {
    ...{ root, hosts, server, kubectl },
    async kubectlOk(args, given = {}) {
      const { code, stdout, stderr } = await kubectl(args, given);
      if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
      return stdout;
    },
    async curl(target, timeoutSeconds = 5) {
      const { code, stdout } = await runCommand('curl', curlArguments(target, timeoutSeconds));
      return code === 0 ? stdout : undefined;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
