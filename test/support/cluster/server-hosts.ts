// Several hosts, each with a `windlass server` that is started by the command itself: what tests of an embedded etcd of
// several members run on.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createApiClient } from '../../../client/api-client.ts';
import type { ApiClient } from '../../../client/client.ts';
import { readKubeconfig } from '../../../client/kubeconfig.ts';
import { createServersClient } from '../../../client/servers.ts';
import type { ServerList } from '../../../crds/servers.ts';
import { describeInstance, paths, type Instance } from '../../../lib/instance.ts';
import type { KeyPair } from '../../../lib/pki.ts';
import { BUSYBOX, makeRoot } from '../cluster.ts';
import { busyboxFiles, makeImage, writeOciLayout } from '../images.ts';
import { runCommand, type CommandResult } from '../instance.ts';
import { waitFor } from '../wait.ts';
import { createClusterNode, type ClusterNode } from './node.ts';
import { createMachine, type Machine } from './machine.ts';
import { createUnderlay, hostAddresses, type Underlay } from './underlay.ts';

const windlassProgram = fileURLToPath(new URL('../../../bin/windlass', import.meta.url));

export interface ServerHost {
  readonly instance: Instance;
  readonly machine: Machine;
  /** `address:port` of its API server. */
  readonly listen: string;
  readonly url: string;
  /** Runs the command on the host, for its instance. */
  windlass(args: readonly string[]): Promise<CommandResult>;
  /** Starts the server in the background; throws with what it said when it fails. */
  start(args?: readonly string[]): Promise<CommandResult>;
  /** Every process of the host dies at once; its disk stays. */
  powerOff(): Promise<void>;
  boot(): Promise<void>;
  /** Sends the signal to its etcd. */
  signalEtcd(signal: 'KILL' | 'STOP' | 'CONT'): Promise<void>;
  /** As administrator, of this server and no other. */
  api(): ApiClient;
  servers(): Promise<ServerList>;
  kubectl(args: readonly string[], input?: string): Promise<CommandResult>;
  authority(): KeyPair;
}

export interface ServerHosts extends AsyncDisposable {
  readonly root: string;
  readonly underlay: Underlay;
  readonly hosts: readonly ServerHost[];
  /** A node that knows of `server` alone, with the busybox image; not started. It dies with the hosts. */
  addNode(name: string, server: ServerHost): Promise<ClusterNode>;
}

/** Hosts that are on, with nothing started. Needs root; see startCluster() for what that does to the test process. */
export async function createServerHosts(count: number): Promise<ServerHosts> {
  await using cleanup = new AsyncDisposableStack();
  const root = await makeRoot(cleanup);
  const underlay = cleanup.use(createUnderlay());
  mkdirSync(join(root, 'kube'));
  const hosts = Array.from({ length: count }, (_, index) => createHost({ root, underlay, number: index + 1, cleanup }));
  for (const host of hosts) await host.boot();
  const nodes: ClusterNode[] = [];
  cleanup.defer(async () => {
    for (const node of nodes) await node.powerOff();
  });
  const addNode: ServerHosts['addNode'] = async (name, server) => {
    const image = join(root, 'busybox');
    mkdirSync(image, { recursive: true });
    writeOciLayout(image, makeImage({ layers: [busyboxFiles()], config: { Cmd: ['sh'], Env: ['PATH=/bin'] } }));
    const number = count + nodes.length + 1;
    const node = createClusterNode({
      ...{ name, number, underlay, ca: server.authority(), url: server.url, image, reference: BUSYBOX },
      addresses: hostAddresses(number),
      folder: join(root, name),
      flags: { agent: [], shim: [] },
    });
    nodes.push(node);
    return node;
  };
  const owned = cleanup.move();
  return { root, underlay, hosts, addNode, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function createHost(options: {
  root: string;
  underlay: Underlay;
  number: number;
  cleanup: AsyncDisposableStack;
}): ServerHost {
  const { root, underlay, number, cleanup } = options;
  const name = `server-${number}`;
  const instance = describeInstance(join(root, name, 'home'), join(root, name, 'run'));
  const machine = createMachine(name, instance);
  const { ipv4 } = hostAddresses(number);
  const listen = `${ipv4}:6443`;
  const flags = ['--home', instance.home, '--run', instance.run];
  const kubeconfig = paths.adminKubeconfig(instance);
  let client: ApiClient | undefined;
  cleanup.defer(async () => {
    await client?.close();
    await machine.powerOff();
  });
  const host: ServerHost = {
    ...{ instance, machine, listen, url: `https://${listen}` },
    windlass: ([command = '', ...args]) => machine.run([windlassProgram, command, ...args, ...flags]),
    async start(args = []) {
      const said = await host.windlass(['server', '--listen', listen, '--detach', '--timeout-seconds', '90', ...args]);
      if (said.code !== 0) throw new Error(`${name}: server ${args.join(' ')} ended with ${said.code}: ${said.stderr}`);
      return said;
    },
    async powerOff() {
      await machine.powerOff();
      underlay.unplug(name);
    },
    async boot() {
      await machine.powerOn();
      underlay.plug(name, number, machine.pid());
    },
    async signalEtcd(signal) {
      const { stdout } = await machine.run(['pgrep', '-x', 'etcd']);
      await machine.run(['kill', `-${signal}`, ...stdout.trim().split('\n')]);
    },
    api: () => (client ??= createApiClient(readKubeconfig(kubeconfig))),
    async servers() {
      const asking = createServersClient(readKubeconfig(kubeconfig));
      try {
        return await asking.list();
      } finally {
        await asking.close();
      }
    },
    kubectl: (args, input) =>
      runCommand('kubectl', args, {
        env: { ...process.env, HOME: join(root, 'kube'), KUBECONFIG: kubeconfig, NO_COLOR: '1' },
        ...(input === undefined ? {} : { input }),
      }),
    authority() {
      const read = (file: string): string => readFileSync(join(paths.pki(instance), file), 'utf8');
      return { cert: read('ca.crt'), key: read('ca.key') };
    },
  };
  return host;
}

/** Until every one of `hosts` says that there are so many members, and none that joins. */
export async function waitForMembers(hosts: readonly ServerHost[], count: number): Promise<void> {
  for (const host of hosts) {
    const areThere = async (): Promise<boolean> => {
      const { servers } = await host.servers().catch(() => ({ servers: [] }));
      return servers.length === count && servers.every(({ role }) => role === 'Member');
    };
    await waitFor(areThere, { timeoutMs: 60_000, what: `${count} members at ${host.listen}` });
  }
}
