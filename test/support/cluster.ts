// Several hosts on one machine, each with the node's real processes, and a control plane that they reach over a wire
// which can be cut: what tests of joining, overlays and failure run on.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { planServer, type Component } from '../../cli/components.ts';
import { serverOptions } from '../../cli/options.ts';
import { prepareControlPlane } from '../../cli/server-plan.ts';
import { createApiClient } from '../../client/api-client.ts';
import type { ApiClient } from '../../client/client.ts';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { nodeKind, type Node } from '../../crds/builtin.ts';
import { describeInstance, paths, type Instance } from '../../lib/instance.ts';
import { umountTree } from '../../runtime-shim/host/mount.ts';
import { purgeInstance } from '../../runtime-shim/purge.ts';
import { explain } from './cluster/explain.ts';
import { createClusterNode, curlArguments, type ClusterNode } from './cluster/node.ts';
import { supervise, type Supervised } from './cluster/supervised.ts';
import { createUnderlay, GATEWAY, hostAddresses, type Underlay } from './cluster/underlay.ts';
import { asYaml, runCommand, type CommandResult } from './instance.ts';
import { busyboxFiles, makeImage, writeOciLayout } from './images.ts';
import { forLeftOvers } from './left-overs.ts';
import { waitFor } from './wait.ts';

export type { ClusterNode } from './cluster/node.ts';
export { canDelay, GATEWAY } from './cluster/underlay.ts';

const PREFIX = 'windlass-cluster-';
/** On every node from the start. */
export const BUSYBOX = 'windlass.local/busybox:1';

export interface ClusterOptions {
  /** `node-1` to `node-<n>`; 3 unless said. */
  readonly nodes?: number;
  /** Further flags of the controllers. The times are short unless said: leases of nodes last 4 s, eviction follows 1 s later. */
  readonly controllers?: readonly string[];
  /** Further flags of every node agent. */
  readonly agent?: readonly string[];
  /** Further flags of every shim. */
  readonly shim?: readonly string[];
  /** Start the hosts without their node processes; node.start() follows when a test wants it. */
  readonly idleNodes?: boolean;
}

export interface Cluster extends AsyncDisposable {
  readonly root: string;
  readonly underlay: Underlay;
  /** Of the API server, as the hosts reach it. */
  readonly url: string;
  readonly kubeconfig: string;
  /** As administrator. */
  readonly api: ApiClient;
  readonly etcd: Supervised;
  readonly apiserver: Supervised;
  readonly controllers: Supervised;
  readonly nodes: readonly ClusterNode[];
  node(name: string): ClusterNode;
  /** Another controllers process, not started: the second candidate for the lead. */
  addControllers(name: string): Supervised;
  kubectl(args: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<CommandResult>;
  /** kubectl that must succeed: its stdout. */
  kubectlOk(args: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<string>;
  /** Applies YAML without kubectl's own validation, which costs a second. */
  put(yaml: string): Promise<string>;
  /** Body of a request from the wire, outside every node; undefined when there was no answer in time. */
  curl(url: string, timeoutSeconds?: number): Promise<string | undefined>;
  /** Until the nodes say so. */
  waitForReady(...names: string[]): Promise<void>;
  /** Until the API server answers, after it was started again. */
  waitForApi(): Promise<void>;
  /** State and last words of every process, for a wait that was in vain. */
  explain(): string;
}

/** On a machine with twenty others at work, a process may take half a minute to its first line. */
const START_MS = 180_000;
const TIMES = ['--lease-duration-seconds', '5', '--eviction-delay-seconds', '1'];
const NODE_TIMES = ['--node-lease-seconds', '4'];

/**
 * Starts it and waits until all nodes are Ready. Needs root. The test process itself moves into the wire's network
 * namespace until the cluster is disposed, so there is one cluster per process at a time.
 */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  await using cleanup = new AsyncDisposableStack();
  const root = await makeRoot(cleanup);
  const underlay = cleanup.use(createUnderlay());
  const control = describeInstance(join(root, 'control', 'home'), join(root, 'control', 'run'));
  for (const folder of [control.home, control.run, join(root, 'kube')]) mkdirSync(folder, { recursive: true });
  const listen = `${GATEWAY.ipv4}:6443`;
  const env = { ...process.env, HOME: join(root, 'kube'), KUBECONFIG: paths.adminKubeconfig(control), NO_COLOR: '1' };
  const controlOptions = serverOptions.parse({ ...control, listen });
  const { kubeconfig, etcd: member } = await prepareControlPlane(control, controlOptions);
  const planned = planServer(control, controlOptions, member);
  const superviseControl = (name: Component['name'], as: string = name, args: readonly string[] = []): Supervised => {
    const { file, args: own } = planned.find((component) => component.name === name) as Component;
    return supervise({ name: as, file, args: [...own, ...args], env, logFile: join(root, 'control', `${as}.log`) });
  };
  const etcd = superviseControl('etcd');
  const apiserver = superviseControl('apiserver');
  const controllers = superviseControl('controllers', 'controllers', [...TIMES, ...(options.controllers ?? [])]);
  const extra: Supervised[] = [];
  cleanup.defer(async () => {
    for (const part of [...extra, controllers, apiserver, etcd]) await part.kill();
  });
  for (const part of [etcd, apiserver, controllers]) part.start();

  const image = join(root, 'busybox');
  mkdirSync(image);
  writeOciLayout(image, makeImage({ layers: [busyboxFiles()], config: { Cmd: ['sh'], Env: ['PATH=/bin'] } }));
  const names = Array.from({ length: options.nodes ?? 3 }, (_, index) => `node-${index + 1}`);
  const ca = readPair(control, 'ca');
  const url = `https://${listen}`;
  const nodes = names.map((name, index) =>
    createClusterNode({
      ...{ name, number: index + 1, underlay, ca, url, image, reference: BUSYBOX },
      addresses: hostAddresses(index + 1),
      folder: join(root, name),
      flags: { agent: [...NODE_TIMES, ...(options.agent ?? [])], shim: options.shim ?? [] },
    }),
  );
  cleanup.defer(async () => {
    await Promise.all(nodes.map((node) => node.powerOff()));
  });
  await Promise.all(nodes.map((node) => node.boot({ isIdle: options.idleNodes === true })));

  const api = createApiClient(readKubeconfig(kubeconfig));
  cleanup.defer(() => api.close());
  const kubectl: Cluster['kubectl'] = (args, given = {}) => runCommand('kubectl', args, { env, ...given });
  const kubectlOk: Cluster['kubectlOk'] = async (args, given = {}) => {
    const { code, stdout, stderr } = await kubectl(args, given);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
    return stdout;
  };
  const node = (name: string): ClusterNode => {
    const found = nodes.find((one) => one.name === name);
    if (!found) throw new Error(`no host ${name}: there are ${names.join(', ')}`);
    return found;
  };
  const waitForReady = async (...wanted: string[]): Promise<void> => {
    const kind = api.kind<Node>(nodeKind);
    const isReady = async (name: string): Promise<boolean> => {
      const found = await kind.get(name, undefined).catch(() => undefined);
      return found?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
    };
    for (const name of wanted) {
      await waitFor(() => isReady(name), {
        timeoutMs: START_MS,
        intervalMs: 100,
        what: `node ${name} being Ready`,
      }).catch((error: Error) => {
        throw new Error(
          `${error.message}\n${[apiserver, ...node(name).processes].map((one) => one.tail()).join('\n')}`,
        );
      });
    }
  };
  if (options.idleNodes !== true) await waitForReady(...names);
  const owned = cleanup.move();
  return {
    ...{
      root,
      underlay,
      url,
      kubeconfig,
      api,
      etcd,
      apiserver,
      controllers,
      nodes,
      node,
      kubectl,
      kubectlOk,
      waitForReady,
    },
    async waitForApi() {
      const isAnswering = (): Promise<boolean> =>
        api.raw('/readyz').then(
          ({ status }) => status === 200,
          () => false,
        );
      await waitFor(isAnswering, { timeoutMs: START_MS, intervalMs: 50, what: 'the API server' }).catch(
        (error: Error) => {
          throw new Error(`${error.message}\n${[apiserver, etcd].map((one) => one.tail(30)).join('\n')}`);
        },
      );
    },
    explain: () =>
      explain([
        ...[etcd, apiserver, controllers, ...extra].map((process) => ({ of: 'the control plane', process })),
        ...nodes.flatMap((one) => one.processes.map((process) => ({ of: one.name, process }))),
      ]),
    addControllers(name) {
      const added = superviseControl('controllers', name, [...TIMES, ...(options.controllers ?? [])]);
      extra.push(added);
      return added;
    },
    put: (yaml) => kubectlOk(['apply', '--validate=false', '-f', '-'], { input: asYaml(yaml) }),
    async curl(target, timeoutSeconds = 5) {
      const { code, stdout } = await runCommand('curl', curlArguments(target, timeoutSeconds));
      return code === 0 ? stdout : undefined;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function readPair(instance: Instance, name: string): { cert: string; key: string } {
  const read = (ending: string): string => readFileSync(join(paths.pki(instance), `${name}.${ending}`), 'utf8');
  return { cert: read('crt'), key: read('key') };
}

/** A folder for hosts, which is gone when `cleanup` is over. */
export async function makeRoot(cleanup: AsyncDisposableStack): Promise<string> {
  // A run that crashed took its processes, namespaces, mounts and links with it; what stays are control groups and files.
  await forLeftOvers(PREFIX, removeRoot);
  const root = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  chmodSync(root, 0o711);
  cleanup.defer(() => removeRoot(root));
  return root;
}

export async function removeRoot(root: string): Promise<void> {
  for (const name of readdirSync(root).filter((entry) => entry.startsWith('node-'))) {
    await purgeInstance(describeInstance(join(root, name, 'home'), join(root, name, 'run')));
  }
  umountTree(root);
  rmSync(root, { recursive: true, force: true });
}
