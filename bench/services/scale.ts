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
import { describeInstance } from '../../lib/instance.ts';
import { waitFor } from '../../test/support/wait.ts';

const REPLICAS = 100;
const PROBE_EVERY_MS = 20;
const HOLLOW = fileURLToPath(new URL('hollow-node.ts', import.meta.url));
const IMAGE = 'docker.io/library/hollow:latest';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '100' },
    containers: { type: 'string', default: '5000' },
    processes: { type: 'string', default: '4' },
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
  const log = openSync(join(root, `${name}.log`), 'a');
  const child = spawn(file, [...args], { stdio: [stdin, 'pipe', log] });
  child.stdout?.resume();
  return child;
}
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
const startComponent = (name: string): ChildProcess => {
  const component = planned.find((one) => one.name === name);
  if (!component) throw new Error(`no component ${name}`);
  return start(name, component.file, component.args);
};
const parts = new Map(['etcd', 'apiserver', 'controllers'].map((name) => [name, startComponent(name)]));
cleanup.defer(async () => {
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
  const args = [HOLLOW, '--kubeconfig', kubeconfig, '--folder', root, '--names', own.join(','), '--image', IMAGE];
  const child = start(`hollow-${index}`, process.execPath, args, 'pipe');
  cleanup.defer(() => end(child));
}
const isReady = ({ status }: Node | Container): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
const listNodes = async (): Promise<Node[]> => (await api.kind<Node>(nodeKind).list()).items;
const listContainers = async (): Promise<Container[]> =>
  (await api.kind(containerKind).list({ namespace: 'default' })).items;
const LONG = { timeoutMs: 30 * 60_000, intervalMs: 500 };
await waitFor(async () => (await listNodes()).filter(isReady).length === nodes, { ...LONG, what: 'the nodes' });

// What a user feels meanwhile: one small read after the other.
const latencies: number[] = [];
const probing = new AbortController();
const probe = (async () => {
  while (!probing.signal.aborted) {
    const startedAt = performance.now();
    await api.kind<Node>(nodeKind).get('hollow-1', undefined);
    latencies.push(performance.now() - startedAt);
    await new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS));
  }
})();

const startedAt = performance.now();
const services = Math.ceil(containers / REPLICAS);
for (let index = 0; index < services; index += 1) {
  const replicas = Math.min(REPLICAS, containers - index * REPLICAS);
  await api.kind(serviceKind).create({
    metadata: { name: `s${index + 1}`, namespace: 'default' },
    spec: { replicas, template: { spec: { image: IMAGE, networks: [] } } } as never,
  });
}
await waitFor(async () => (await listContainers()).filter(({ spec }) => spec.nodeName).length === containers, LONG);
const boundMs = performance.now() - startedAt;
await waitFor(async () => (await listContainers()).filter(isReady).length === containers, LONG);
const readyMs = performance.now() - startedAt;
probing.abort();
await probe;

const usage = Object.fromEntries([...parts].map(([name, { pid }]) => [name, usageOf(pid ?? 0)]));
await end(parts.get('controllers') as ChildProcess);
const restartedAt = performance.now();
const fewer = Math.min(REPLICAS, containers) - 1;
parts.set('controllers', startComponent('controllers'));
await api.kind(serviceKind).mergePatch('s1', 'default', { spec: { replicas: fewer } });
await waitFor(async () => (await api.kind(serviceKind).get('s1', 'default'))?.status?.replicas === fewer, LONG);
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
  `reads meanwhile: median ${quantile(0.5)}, p99 ${quantile(0.99)}, longest ${quantile(1)} of ${latencies.length}`,
);
for (const [name, { residentMb, cpuSeconds }] of Object.entries(usage))
  console.log(`${name}: ${residentMb} MB resident, ${cpuSeconds.toFixed(1)} s of processor time`);
console.log(`controllers started anew: acting after ${seconds(recoveredMs)}`);
process.exitCode = 0;

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function usageOf(pid: number): { residentMb: number; cpuSeconds: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // Clock ticks of user and system time; 100 a second on every platform we run on.
  const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / 100;
  return { residentMb: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024), cpuSeconds };
}
