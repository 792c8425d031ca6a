import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { freePorts } from '../../cli/ports.ts';
import { importBusybox } from '../support/busybox.ts';
import { startInstance } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const NAMES = [
  'apiserver_request_total',
  'apiserver_request_duration_seconds_count',
  'etcd_request_duration_seconds_count',
  'workqueue_adds_total',
  'workqueue_depth',
  'controller_runtime_reconcile_total',
  'rest_client_requests_total',
  'kubelet_running_containers',
  'kubelet_runtime_operations_total',
  'container_memory_working_set_bytes',
  'container_cpu_usage_seconds_total',
  'machine_cpu_cores',
  'process_resident_memory_bytes',
];

interface Targets {
  readonly data: {
    readonly activeTargets: readonly { health: string; lastError: string; labels: Record<string, string> }[];
  };
}
interface QueryResult {
  readonly data: { readonly result: readonly unknown[] };
}

test('Prometheus finds every target up and the names that dashboards use', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'prometheus', 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const instance = await startInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  await importBusybox(instance);
  await instance.apply(
    `{ apiVersion: windlass.dev/v1, kind: Container, metadata: { name: c }, spec: { imageName: busybox, command: [sleep, "1000000"] } }`,
  );
  await instance.kubectlOk(['wait', '--for=condition=Ready', 'ctr/c', '--timeout=30s']);

  const folder = mkdtempSync(join(tmpdir(), 'windlass-prometheus-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const config = readFileSync('manifests/prometheus.yaml', 'utf8')
    .replaceAll('/var/lib/windlass', instance.home)
    .replaceAll('127.0.0.1:6443', instance.listen)
    .replace('scrape_interval: 15s', 'scrape_interval: 1s')
    .replace('refresh_interval: 15s', 'refresh_interval: 1s');
  writeFileSync(join(folder, 'prometheus.yaml'), config);
  const [port] = await freePorts(1);
  const prometheus = spawn(
    'prometheus',
    [
      `--config.file=${folder}/prometheus.yaml`,
      `--storage.tsdb.path=${folder}/data`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: 'ignore' },
  );
  t.after(async () => {
    prometheus.kill();
    await waitFor(() => prometheus.exitCode !== null || prometheus.signalCode !== null, {
      what: 'the end of prometheus',
    });
  });
  const ask = async <T>(path: string): Promise<T | undefined> => {
    try {
      return (await (await fetch(`http://127.0.0.1:${port}${path}`)).json()) as T;
    } catch {
      return undefined;
    }
  };

  const components = ['apiserver', 'controllers', 'etcd', 'node-agent', 'runtime-shim'];
  let last: Targets | undefined;
  await waitFor(
    async () => {
      last = await ask<Targets>('/api/v1/targets');
      const up = (last?.data.activeTargets ?? [])
        .filter(({ health }) => health === 'up')
        .map(({ labels }) => labels['job']);
      return components.every((component) => up.includes(component));
    },
    { timeoutMs: 60_000, what: 'every target up' },
  ).catch((error: unknown) => {
    throw new Error(
      JSON.stringify(
        last?.data.activeTargets.map(({ labels, health, lastError }) => [labels['job'], health, lastError]),
      ),
      { cause: error },
    );
  });
  assert.deepEqual(
    (last?.data.activeTargets ?? []).filter(({ health }) => health !== 'up'),
    [],
  );
  for (const name of NAMES) {
    await waitFor(async () => ((await ask<QueryResult>(`/api/v1/query?query=${name}`))?.data.result.length ?? 0) > 0, {
      timeoutMs: 30_000,
      what: `series ${name}`,
    });
  }
});
