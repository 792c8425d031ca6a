// How the control plane grows: hollow nodes (no container runs), real etcd, API server and controllers of their own.
//   node bench/services/scale.ts [--nodes 100] [--containers 5000] [--processes 4]
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { planServer } from '../../cli/components.ts';
import { serverOptions } from '../../cli/options.ts';
import { freePorts } from '../../cli/ports.ts';
import { prepareControlPlane } from '../../cli/server-plan.ts';
import { createApiClient } from '../../client/api-client.ts';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { nodeKind, type Node } from '../../crds/builtin.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import { serviceKind } from '../../crds/service.ts';
import { isAlreadyExists, reasonOf } from '../../lib/errors.ts';
import { describeInstance, paths } from '../../lib/instance.ts';
import { waitFor } from '../../test/support/wait.ts';

const REPLICAS = 100;
const PROBE_EVERY_MS = 20;
const PROFILE_END_MS = 20_000;
/** What is asked of the API server, and what it sends. */
const COUNTED: readonly (readonly [metric: string, by: readonly string[]])[] = [
  ['apiserver_request_total', ['verb', 'resource', 'subresource']],
  ['apiserver_watch_events_total', ['kind']],
];
const HOLLOW = fileURLToPath(new URL('hollow-node.ts', import.meta.url));
const IMAGE = 'docker.io/library/hollow:latest';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '100' },
    containers: { type: 'string', default: '5000' },
    processes: { type: 'string', default: '4' },
    /** Folder for processor profiles of the parts. */
    profile: { type: 'string' },
  },
});
const [nodes, containers, processes] = [values.nodes, values.containers, values.processes].map(Number) as [
  number,
  number,
  number,
];

await using cleanup = new AsyncDisposableStack();
const root = mkdtempSync(join(tmpdir(), 'windlass-bench-scale-'));
cleanup.defer(() => rmSync(root, { recursive: true, force: true }));
const control = describeInstance(join(root, 'home'), join(root, 'run'));
for (const folder of [control.home, control.run]) mkdirSync(folder);
const [port] = await freePorts(1);
const listen = `127.0.0.1:${port}`;
const options = serverOptions.parse({ ...control, listen });
const { kubeconfig, etcd } = await prepareControlPlane(control, options);
const planned = planServer(control, options, etcd);

function start(name: string, file: string, args: readonly string[], stdin: 'ignore' | 'pipe' = 'ignore'): ChildProcess {
  if (values.profile !== undefined) mkdirSync(values.profile, { recursive: true });
  const log = openSync(join(values.profile ?? root, `${name}.log`), 'a');
  const profiled =
    values.profile !== undefined && file === process.execPath
      ? ['--cpu-prof', '--cpu-prof-dir', values.profile, '--cpu-prof-name', `${name}-${Date.now()}.cpuprofile`]
      : [];
  const child = spawn(file, [...profiled, ...args], { stdio: [stdin, 'pipe', log] });
  child.stdout?.resume();
  return child;
}
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  // A profile is written at an orderly end only.
  if (values.profile !== undefined) {
    if (child.stdin) child.stdin.end();
    else child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), PROFILE_END_MS);
    await gone;
    clearTimeout(timer);
    return;
  }
  child.kill('SIGKILL');
  await gone;
}
const startComponent = (name: string): ChildProcess => {
  const component = planned.find((one) => one.name === name);
  if (!component) throw new Error(`no component ${name}`);
  return start(name, component.file, component.args);
};
const parts = new Map(['etcd', 'apiserver', 'controllers'].map((name) => [name, startComponent(name)]));
/** Times that the controllers ended, having lost their lease; started anew as `windlass up` does. */
let leasesLost = 0;
let endedCpuSeconds = 0;
const keepControllers = (): void => {
  const child = parts.get('controllers') as ChildProcess;
  const sampling = setInterval(() => (last = cpuSecondsOf(child.pid ?? 0) ?? last), 1_000);
  let last = 0;
  child.once('exit', () => {
    clearInterval(sampling);
    if (parts.get('controllers') !== child) return;
    leasesLost += 1;
    endedCpuSeconds += last;
    parts.set('controllers', startComponent('controllers'));
    keepControllers();
  });
};
keepControllers();
cleanup.defer(async () => {
  const controllers = parts.get('controllers');
  parts.delete('controllers');
  if (controllers) await end(controllers);
  for (const part of [...parts.values()].toReversed()) await end(part);
});

const api = createApiClient(readKubeconfig(kubeconfig));
cleanup.defer(() => api.close());
const isServing = (): Promise<boolean> =>
  api.raw('/readyz').then(
    ({ status }) => status === 200,
    () => false,
  );
await waitFor(isServing, { timeoutMs: 180_000, what: 'the API server' });

const names = Array.from({ length: nodes }, (_, index) => `hollow-${index + 1}`);
for (let index = 0; index < processes; index += 1) {
  const own = names.filter((_, position) => position % processes === index);
  if (own.length === 0) continue;
  const pki = paths.pki(control);
  const args = [HOLLOW, '--kubeconfig', kubeconfig, '--pki', pki, '--folder', root, '--names', own.join(',')];
  args.push('--image', IMAGE);
  const child = start(`hollow-${index}`, process.execPath, args, 'pipe');
  cleanup.defer(() => end(child));
}
const isReady = ({ status }: Node | Container): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
// A list that fails is taken again: what is measured is how things go on.
const listNodes = async (): Promise<Node[]> =>
  (
    await api
      .kind<Node>(nodeKind)
      .list()
      .catch(() => NOTHING)
  ).items;
const listContainers = async (): Promise<Container[]> =>
  (
    await api
      .kind(containerKind)
      .list({ namespace: 'default' })
      .catch(() => NOTHING)
  ).items;
const NOTHING = { items: [] };
const LONG = { timeoutMs: 30 * 60_000, intervalMs: 2_000 };
await waitFor(async () => (await listNodes()).filter(isReady).length === nodes, { ...LONG, what: 'the nodes' });
console.log(`${nodes} nodes Ready`);

// What a user feels meanwhile: one small read after the other.
const latencies: number[] = [];
let failed = 0;
let refused = 0;
const probing = new AbortController();
const probe = (async () => {
  while (!probing.signal.aborted) {
    const startedAt = performance.now();
    await api
      .kind<Node>(nodeKind)
      .get('hollow-1', undefined)
      .catch(() => (failed += 1));
    latencies.push(performance.now() - startedAt);
    await new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS));
  }
})();

const startedAt = performance.now();
const services = Math.ceil(containers / REPLICAS);
for (let index = 0; index < services; index += 1) {
  const replicas = Math.min(REPLICAS, containers - index * REPLICAS);
  const service = {
    metadata: { name: `s${index + 1}`, namespace: 'default' },
    spec: { replicas, template: { spec: { image: IMAGE, networks: [] } } } as never,
  };
  await again(() => api.kind(serviceKind).create(service));
}
await waitFor(async () => (await listContainers()).filter(({ spec }) => spec.nodeName).length === containers, LONG);
const boundMs = performance.now() - startedAt;
await waitFor(async () => (await listContainers()).filter(isReady).length === containers, LONG);
const readyMs = performance.now() - startedAt;
probing.abort();
await probe;

const exported = await again(async () => (await api.raw('/metrics')).body);
const usage = Object.fromEntries([...parts].map(([name, { pid }]) => [name, usageOf(pid ?? 0)]));
const replaced = parts.get('controllers') as ChildProcess;
parts.delete('controllers');
await end(replaced);
const restartedAt = performance.now();
const fewer = Math.min(REPLICAS, containers) - 1;
parts.set('controllers', startComponent('controllers'));
await again(() => api.kind(serviceKind).mergePatch('s1', 'default', { spec: { replicas: fewer } }));
const replicasOf = async (name: string): Promise<number | undefined> =>
  (
    await api
      .kind(serviceKind)
      .get(name, 'default')
      .catch(() => undefined)
  )?.status?.replicas;
await waitFor(async () => (await replicasOf('s1')) === fewer, LONG);
const recoveredMs = performance.now() - restartedAt;

latencies.sort((a, b) => a - b);
const quantile = (share: number): string =>
  `${Math.round(latencies[Math.floor((latencies.length - 1) * share)] ?? 0)} ms`;
const perNode = Object.values(Object.groupBy(await listContainers(), ({ spec }) => spec.nodeName ?? '')).map(
  (list) => list?.length ?? 0,
);
console.log(`${nodes} hollow nodes, ${containers} Containers of ${services} Services`);
console.log(
  `bound after ${seconds(boundMs)} (${Math.round(containers / (boundMs / 1000))} a second), Ready after ${seconds(readyMs)}`,
);
console.log(`per node ${Math.min(...perNode)} to ${Math.max(...perNode)}`);
console.log(
  `reads meanwhile: median ${quantile(0.5)}, p99 ${quantile(0.99)}, longest ${quantile(1)} of ${latencies.length}, ${failed} failed; writes asked again ${refused} times`,
);
for (const [name, { residentMb, cpuSeconds }] of Object.entries(usage))
  console.log(`${name}: ${residentMb} MB resident, ${cpuSeconds.toFixed(1)} s of processor time`);
for (const [metric, by] of COUNTED) console.log(`${metric}: ${sumOf(exported ?? '', metric, by)}`);
console.log(
  `controllers that lost their lease meanwhile: ${leasesLost} (${endedCpuSeconds.toFixed(1)} s of processor time)`,
);
console.log(`controllers started anew: acting after ${seconds(recoveredMs)}`);
process.exitCode = 0;

/** The samples of a counter, added up by some of its labels, the largest first. */
function sumOf(text: string, metric: string, by: readonly string[]): string {
  const sums = new Map<string, number>();
  let total = 0;
  for (const line of text.split('\n')) {
    const [, labels = '', value] = new RegExp(`^${metric}\\{(.*)\\} (\\S+)`).exec(line) ?? [];
    if (value === undefined) continue;
    const key = by.map((name) => new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? '').join(' ');
    sums.set(key, (sums.get(key) ?? 0) + Number(value));
    total += Number(value);
  }
  const largest = [...sums].toSorted(([, a], [, b]) => b - a).slice(0, 12);
  return `${total} (${largest.map(([key, sum]) => `${key} ${sum}`).join(', ')})`;
}

/** As a user would: what fails for a while is asked again. */
async function again<T>(call: () => Promise<T>): Promise<T | undefined> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (isAlreadyExists(error)) return undefined;
      if (!['Unavailable', 'Timeout', 'TooManyRequests'].includes(reasonOf(error) ?? '')) throw error;
      refused += 1;
    }
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** Clock ticks of user and system time; 100 a second on every platform we run on. Undefined for a process that is gone. */
function cpuSecondsOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return undefined;
  }
}

function usageOf(pid: number): { residentMb: number; cpuSeconds: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const residentMb = Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
  return { residentMb, cpuSeconds: cpuSecondsOf(pid) ?? 0 };
}
