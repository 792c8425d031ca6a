// One node of a test cluster: a machine on the wire with a shim and an agent in it.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { planComponents, type Component } from '../../../cli/components.ts';
import { renderFileKubeconfig } from '../../../cli/kubeconfig.ts';
import { upOptions } from '../../../cli/options.ts';
import { createCriClient } from '../../../cri/client.ts';
import { NODE_GROUP, NODE_USER } from '../../../crds/join.ts';
import { describeInstance, paths, type Instance } from '../../../lib/instance.ts';
import { issueCertificate, type KeyPair } from '../../../lib/pki.ts';
import { waitFor } from '../wait.ts';
import { createMachine, type Machine } from './machine.ts';
import { supervise, type Supervised } from './supervised.ts';
import type { Underlay } from './underlay.ts';

const SKEWED_CLOCK = import.meta.resolve('./skewed-clock.ts');

export interface ClusterNode {
  readonly name: string;
  readonly instance: Instance;
  readonly machine: Machine;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly shim: Supervised;
  readonly agent: Supervised;
  /** Shim and agent. */
  readonly processes: readonly Supervised[];
  /** Starts shim and agent where they do not run; the first time with certificates and the busybox image. */
  start(): Promise<void>;
  /** Starts the agent again with a clock that is ahead of everybody else's, or behind. */
  setAgentClock(aheadMs: number): Promise<void>;
  /** SIGKILL to shim and agent; containers go on. */
  killProcesses(): Promise<void>;
  /** Every process of the host dies at once, containers with them; its disk stays. */
  powerOff(): Promise<void>;
  /** Switches it on where it is off, and starts shim and agent unless it is to stay idle. */
  boot(options?: { isIdle?: boolean }): Promise<void>;
  /** In silence: nothing reaches the host or leaves it, or only nothing of `other`. */
  cut(other?: string): void;
  restore(other?: string): void;
  /** That share of the packets to and from the host is lost. */
  lose(percent: number): void;
  /** Output of a shell script on the host; throws when it fails. */
  sh(script: string): Promise<string>;
  /** Body of a request from the host; undefined when there was no answer in time. */
  curl(url: string, timeoutSeconds?: number): Promise<string | undefined>;
  /** Names of the containers that run on the host, as its runtime has them: asked of the shim, not of the API server. */
  running(): Promise<string[]>;
  /** Their ids. */
  runningIds(): Promise<string[]>;
}

export interface ClusterNodeOptions {
  readonly name: string;
  readonly number: number;
  readonly addresses: { readonly ipv4: string; readonly ipv6: string };
  /** Holds its state and run folder and its logs. */
  readonly folder: string;
  readonly underlay: Underlay;
  /** Authority that signs its certificates. */
  readonly ca: KeyPair;
  /** Of the API server. */
  readonly url: string;
  /** OCI layout of the image that it has from the start, and the image's name. */
  readonly image: string;
  readonly reference: string;
  readonly flags: { readonly agent: readonly string[]; readonly shim: readonly string[] };
}

/** The node, its machine switched off. */
export function createClusterNode(options: ClusterNodeOptions): ClusterNode {
  const { name, number, folder, underlay, addresses } = options;
  const instance = describeInstance(join(folder, 'home'), join(folder, 'run'));
  const machine = createMachine(name, instance);
  const { ipv4, ipv6 } = addresses;
  const given = { ...instance, nodeName: name, nodeIp: `${ipv4},${ipv6}`, listen: new URL(options.url).host };
  const planned = planComponents(instance, upOptions.parse(given), undefined);
  const superviseInside = (component: Component['name'], flags: readonly string[]): Supervised => {
    const { file, args, env } = planned.find((one) => one.name === component) as Component;
    return supervise({
      ...{
        name: component,
        file,
        args: [...args, ...flags],
        env: { ...process.env, WINDLASS_SANDBOX_POOL: '0', ...env },
      },
      logFile: join(folder, `${component}.log`),
      within: machine.within,
      mayRun: machine.isOn,
    });
  };
  const shim = superviseInside('runtime-shim', options.flags.shim);
  const agent = superviseInside('node-agent', options.flags.agent);
  const processes = [agent, shim];
  let hasImage = false;
  const node: ClusterNode = {
    ...{ name, instance, machine, ipv4, ipv6, shim, agent, processes },
    async start() {
      if (!existsSync(join(paths.pki(instance), 'node.kubeconfig'))) await writeNodePki(instance, options);
      shim.start();
      if (!hasImage) await importImage(machine, shim, options);
      hasImage = true;
      agent.start();
    },
    async setAgentClock(aheadMs) {
      await agent.kill();
      agent.start({ NODE_OPTIONS: `--import=${SKEWED_CLOCK}`, WINDLASS_TEST_CLOCK_AHEAD_MS: String(aheadMs) });
    },
    async killProcesses() {
      await Promise.all(processes.map((one) => one.kill()));
    },
    async powerOff() {
      await machine.powerOff();
      underlay.unplug(name);
    },
    async boot({ isIdle = false } = {}) {
      if (!machine.isOn()) {
        await machine.powerOn();
        underlay.plug(name, number, machine.pid());
      }
      if (!isIdle) await node.start();
    },
    cut: (other) => underlay.cut(name, other),
    restore: (other) => underlay.restore(name, other),
    lose: (percent) => underlay.lose(name, percent),
    async sh(script) {
      const { code, stdout, stderr } = await machine.run(['sh', '-c', script]);
      if (code !== 0) throw new Error(`${name}: ${script} ended with ${code}: ${stderr}${stdout}`);
      return stdout.trim();
    },
    async curl(url, timeoutSeconds = 5) {
      const { code, stdout } = await machine.run(['curl', ...curlArguments(url, timeoutSeconds)]);
      return code === 0 ? stdout : undefined;
    },
    async running() {
      return (await running(machine)).map(({ name }) => name).toSorted();
    },
    async runningIds() {
      return (await running(machine)).map(({ id }) => id);
    },
  };
  return node;
}

/** For curl: the body alone, within that time. */
export const curlArguments = (url: string, timeoutSeconds: number): string[] => [
  ...['-sS', '--globoff', '--max-time', String(timeoutSeconds), url],
];

async function running({ instance, pathOf }: Machine): Promise<{ id: string; name: string }[]> {
  using cri = createCriClient({ socketPath: pathOf(paths.criSocket(instance)) });
  const { items: sandboxes } = await cri.runtime.listPodSandbox({});
  const { containers } = await cri.runtime.listContainers({ filter: { state: { state: 'CONTAINER_RUNNING' } } });
  const nameOf = (id: string): string => sandboxes.find((one) => one.id === id)?.metadata?.name ?? id;
  return containers.map(({ id, podSandboxId }) => ({ id, name: nameOf(podSandboxId) }));
}

async function importImage(
  machine: Machine,
  shim: Supervised,
  { image, reference }: ClusterNodeOptions,
): Promise<void> {
  using cri = createCriClient({ socketPath: machine.pathOf(paths.criSocket(machine.instance)) });
  const isServing = (): Promise<boolean> => {
    if (!shim.isRunning()) throw new Error(`the shim of ${machine.name} ended: ${shim.tail()}`);
    return cri.runtime.version({}, { timeoutMs: 1000 }).then(
      () => true,
      () => false,
    );
  };
  await waitFor(isServing, { what: `the shim of ${machine.name}`, timeoutMs: 180_000 });
  await cri.node.importImage({ path: image, references: [reference] });
}

/** What a node has after it joined: the authority, the certificate of its listener, its own kubeconfig. */
async function writeNodePki(instance: Instance, options: ClusterNodeOptions): Promise<void> {
  const { name, ca, url, addresses } = options;
  const folder = paths.pki(instance);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const times = { days: 1, now: Date.now() };
  const write = (file: string, text: string): void => writeFileSync(join(folder, file), text, { mode: 0o600 });
  const hosts = [name, '127.0.0.1', '::1', 'localhost', addresses.ipv4, addresses.ipv6];
  const commonName = `${NODE_USER}${name}`;
  const serving = await issueCertificate(ca, { ...times, commonName, hosts, usage: 'server' });
  const client = await issueCertificate(ca, { ...times, commonName, organizations: [NODE_GROUP], usage: 'client' });
  write('ca.crt', ca.cert);
  write('node-agent.crt', serving.cert);
  write('node-agent.key', serving.key);
  write('node.crt', client.cert);
  write('node.key', client.key);
  write('node.kubeconfig', renderFileKubeconfig(url));
}
