// How the control plane grows: hollow nodes (no container runs), real etcd, API server and controllers of their own.
//   node bench/services/scale.ts [--nodes 100] [--containers 5000] [--processes 4]
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { planServer } from '../../cli/components.ts';
import { serverOptions } from '../../cli/options.ts';
import { freePorts } from '../../cli/ports.ts';
import { prepareControlPlane } from '../../cli/server-plan.ts';
import { createApiClient } from '../../client/api-client.ts';
import { createInformerSet } from '../../client/informer-set.ts';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { nodeKind, type Node } from '../../crds/builtin.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import { serviceKind } from '../../crds/service.ts';
import { systemClock } from '../../lib/clock.ts';
import { isAlreadyExists, reasonOf } from '../../lib/errors.ts';
import { createLogger } from '../../lib/log.ts';
import { describeInstance, paths } from '../../lib/instance.ts';
import { waitFor } from '../../test/support/wait.ts';

const REPLICAS = 100;
const PROBE_EVERY_MS = 20;
const PROFILE_END_MS = 20_000;
/** What is asked of the API server, and what it sends. */
const COUNTED: readonly (readonly [metric: string, by: readonly string[]])[] = [
  ['apiserver_request_total', ['verb', 'resource', 'subresource']],
  ['apiserver_watch_events_total', ['kind']],
  ['windlass_apiserver_watch_bytes_total', ['kind']],
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
    /** Folder for the logs of the parts; those of hollow nodes tell of each watch that was opened anew. */
    logs: { type: 'string' },
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
  if (values.logs !== undefined) mkdirSync(values.logs, { recursive: true });
  const log = openSync(join(values.logs ?? values.profile ?? root, `${name}.log`), 'a');
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

const hollow: ChildProcess[] = [];
const names = Array.from({ length: nodes }, (_, index) => `hollow-${index + 1}`);
for (let index = 0; index < processes; index += 1) {
  const own = names.filter((_, position) => position % processes === index);
  if (own.length === 0) continue;
  const pki = paths.pki(control);
  const args = [HOLLOW, '--kubeconfig', kubeconfig, '--pki', pki, '--folder', root, '--names', own.join(',')];
  args.push('--image', IMAGE, '--log', values.logs === undefined ? 'warn' : 'debug');
  const child = start(`hollow-${index}`, process.execPath, args, 'pipe');
  hollow.push(child);
  cleanup.defer(() => end(child));
}
const isReady = ({ status }: Node | Container): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
// One watch of each, as a controller has it: to list thousands again and again would be most of what is measured.
const observer = createInformerSet({ client: api, log: createLogger('observer', 'fatal'), clock: systemClock });
const seen = { nodes: observer.add<Node>(nodeKind), containers: observer.add<Container>(containerKind) };
const observing = new AbortController();
const observed = observer.run(observing.signal);
cleanup.defer(async () => {
  observing.abort();
  await observed;
});
const listNodes = (): Node[] => seen.nodes.list();
const listContainers = (): Container[] => seen.containers.list('default');
const LONG = { timeoutMs: 40 * 60_000, intervalMs: 500 };
const joinedAt = performance.now();
await waitFor(() => listNodes().filter(isReady).length === nodes, { ...LONG, what: 'the nodes' });
console.log(`${nodes} nodes Ready after ${seconds(performance.now() - joinedAt)}`);
tellUsage();

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
await waitFor(() => listContainers().filter(({ spec }) => spec.nodeName).length === containers, LONG);
const boundMs = performance.now() - startedAt;
await waitFor(() => listContainers().filter(isReady).length === containers, LONG);
const readyMs = performance.now() - startedAt;
probing.abort();
await probe;

const exported = await again(async () => (await api.raw('/metrics')).body);
console.log(`${nodes} hollow nodes, ${containers} Containers of ${services} Services`);
tellUsage();
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
const perNode = Object.values(Object.groupBy(listContainers(), ({ spec }) => spec.nodeName ?? '')).map(
  (list) => list?.length ?? 0,
);
console.log(
  `bound after ${seconds(boundMs)} (${Math.round(containers / (boundMs / 1000))} a second), Ready after ${seconds(readyMs)}`,
);
console.log(`per node ${Math.min(...perNode)} to ${Math.max(...perNode)}`);
console.log(
  `reads meanwhile: median ${quantile(0.5)}, p99 ${quantile(0.99)}, longest ${quantile(1)} of ${latencies.length}, ${failed} failed; writes asked again ${refused} times`,
);
for (const line of latenciesOf(exported ?? '')) console.log(line);
const lag = (name: string): string =>
  new RegExp(`^nodejs_eventloop_lag_${name}_seconds (\\S+)`, 'm').exec(exported ?? '')?.[1] ?? '?';
console.log(`event loop of the API server late by: mean ${lag('mean')} s, p99 ${lag('p99')} s`);
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
  const largest = [...sums].toSorted(([, a], [, b]) => b - a).slice(0, 20);
  return `${total} (${largest.map(([key, sum]) => `${key} ${sum}`).join(', ')})`;
}

/**
 * How long requests took by the server's own count, from their arrival until they were answered, waits for a turn included:
 * median and p99 by verb, as the limits of the buckets that they fall into.
 */
function latenciesOf(text: string): string[] {
  const buckets = new Map<string, Map<number, number>>();
  for (const line of text.split('\n')) {
    const [, labels = '', value] = /^apiserver_request_duration_seconds_bucket\{(.*)\} (\S+)/.exec(line) ?? [];
    const verb = /(?:^|,)verb="([^"]*)"/.exec(labels)?.[1];
    const limit = /(?:^|,)le="([^"]*)"/.exec(labels)?.[1];
    if (value === undefined || verb === undefined || limit === undefined) continue;
    const upTo = limit === '+Inf' ? Infinity : Number(limit);
    const byLimit = buckets.get(verb) ?? new Map<number, number>();
    buckets.set(verb, byLimit.set(upTo, (byLimit.get(upTo) ?? 0) + Number(value)));
  }
  return [...buckets].map(([verb, byLimit]) => {
    const sorted = [...byLimit].toSorted(([a], [b]) => a - b);
    const count = sorted.at(-1)?.[1] ?? 0;
    const within = (share: number): string => `${sorted.find(([, upTo]) => upTo >= count * share)?.[0] ?? Infinity} s`;
    return `${verb}: ${count} requests, median within ${within(0.5)}, p99 within ${within(0.99)}`;
  });
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

/** Prints what each part has used since its start. */
function tellUsage(): void {
  const groups = new Map<string, readonly ChildProcess[]>([...parts].map(([name, child]) => [name, [child]]));
  groups.set(`${hollow.length} hollow processes`, hollow);
  for (const [name, children] of groups) {
    const cpuSeconds = children.reduce((sum, { pid }) => sum + (cpuSecondsOf(pid ?? 0) ?? 0), 0);
    const residentMb = children.reduce((sum, { pid }) => sum + residentMbOf(pid ?? 0), 0);
    console.log(`  ${name}: ${residentMb} MB resident, ${cpuSeconds.toFixed(1)} s of processor time`);
  }
  console.log(`  load ${loadavg()[0]?.toFixed(0)}`);
}

function residentMbOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}
