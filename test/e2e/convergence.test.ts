// Whatever is broken by hand comes back without one, nothing is done twice, and healthy containers are not restarted.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { freePorts } from '../../cli/ports.ts';
import { describeInstance, kernelNames } from '../../lib/instance.ts';
import { readMounts } from '../../runtime-shim/host/mount.ts';
import { importBusybox } from '../support/busybox.ts';
import { startInstance, type TestInstance } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

interface Identity {
  readonly containerID: string;
  readonly startedAt: string;
  readonly restartCount: number;
}

test('convergence', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const instance = await startInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  const identity = describeInstance(instance.home, instance.run);
  const { kubectlOk } = instance;
  const [port = 0] = await freePorts(1);
  await importBusybox(instance);
  await instance.apply(`
apiVersion: windlass.dev/v1
kind: Volume
metadata: { name: site }
spec: {}
---
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: web }
spec:
  imageName: busybox
  command: [sh, -c, "echo works > /www/index.html; exec httpd -f -p 80 -h /www"]
  ports: [{ containerPort: 80, hostPort: ${port} }]
  mounts: [{ mountPath: /www, volume: site }]
---
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: bystander }
spec: { imageName: busybox, command: [sleep, "1000000"] }`);
  await kubectlOk(['wait', '--for=condition=Ready', 'ctr', '--all', '--timeout=60s']);
  const identityOf = async (name: string): Promise<Identity> => {
    const { status } = JSON.parse(await kubectlOk(['get', 'ctr', name, '-o', 'json'])) as { status: Identity };
    return { containerID: status.containerID, startedAt: status.startedAt, restartCount: status.restartCount ?? 0 };
  };
  const answers = async (): Promise<boolean> => {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(2_000) });
      return (await response.text()).trim() === 'works';
    } catch {
      return false;
    }
  };
  await waitFor(answers, { what: 'the published port', timeoutMs: 60_000 });
  const before = { web: await identityOf('web'), bystander: await identityOf('bystander') };
  const unchanged = async (): Promise<void> =>
    assert.deepEqual({ web: await identityOf('web'), bystander: await identityOf('bystander') }, before);

  await t.test('a bridge that was deleted comes back', async () => {
    const bridge = await bridgeOf(instance);
    execFileSync('ip', ['link', 'del', bridge]);
    await waitFor(answers, { what: 'the published port', timeoutMs: 60_000 });
    await unchanged();
  });

  await t.test('a flushed and a deleted nft table come back', async () => {
    const table = kernelNames.nftTable(identity);
    const families = nftFamilies(table);
    for (const action of ['flush', 'delete']) {
      for (const family of families) execFileSync('nft', [action, 'table', family, table]);
      await waitFor(() => nftFamilies(table).length === families.length, { what: 'the nft table', timeoutMs: 60_000 });
      await waitFor(answers, { what: 'the published port', timeoutMs: 60_000 });
    }
    await unchanged();
  });

  await t.test('mounts that were removed are felt by no container, and come back', async () => {
    const own = (): string[] =>
      readMounts()
        .map(({ target }) => target)
        .filter((target) => [instance.home, instance.run].some((folder) => target.startsWith(`${folder}/`)))
        .toSorted();
    const mounts = own();
    assert.ok(mounts.length > 0);
    // Those within others first.
    for (const target of mounts.toReversed()) execFileSync('umount', ['-l', target]);
    // The root file system of a container is only needed again, and mounted again, when its files are asked for.
    // Sandboxes kept ready are given up instead, and the runtime's own program is mounted again with its next use.
    const sandboxes = readdirSync(join(instance.run, 'shim', 'sandboxes')).map((file) => file.replace('.json', ''));
    const wanted = mounts.filter((target) => sandboxes.some((id) => target.includes(`/s/${id}/`)));
    assert.ok(wanted.length > 0);
    await waitFor(() => wanted.every((target) => own().includes(target)), { what: 'the mounts', timeoutMs: 60_000 });
    await waitFor(answers, { what: 'the published port', timeoutMs: 60_000 });
    assert.equal((await kubectlOk(['exec', 'web', '--', 'cat', '/www/index.html'])).trim(), 'works');
    await unchanged();
  });

  for (const name of ['runtime-shim', 'node-agent', 'controllers', 'apiserver', 'etcd']) {
    await t.test(`kill -9 of ${name} is survived`, async () => {
      const killed = pidOf(instance, name);
      process.kill(killed, 'SIGKILL');
      await waitFor(() => isReady(instance, name, killed), { what: `${name} ready again`, timeoutMs: 60_000 });
      await waitFor(async () => (await instance.kubectl(['get', 'ctr'])).code === 0, {
        what: 'the API',
        timeoutMs: 60_000,
      });
      assert.equal(await answers(), true);
      await kubectlOk(['wait', '--for=condition=Ready', 'ctr', '--all', '--timeout=30s']);
      await unchanged();
    });
  }

  await t.test('after all that the loop still works: a new container runs', async () => {
    await instance.apply(
      `{ apiVersion: windlass.dev/v1, kind: Container, metadata: { name: late }, spec: { imageName: busybox, command: [sleep, "1000"], terminationGracePeriodSeconds: 1 } }`,
    );
    await kubectlOk(['wait', '--for=condition=Ready', 'ctr/late', '--timeout=30s']);
    await kubectlOk(['delete', 'ctr', 'late', '--timeout=30s']);
  });

  await t.test('a killed container process is restarted, the other one is not', async () => {
    const pid = await processIn(instance, 'web');
    process.kill(pid, 'SIGKILL');
    await waitFor(async () => (await identityOf('web')).restartCount === before.web.restartCount + 1, {
      what: 'the restart',
      timeoutMs: 60_000,
    });
    await kubectlOk(['wait', '--for=condition=Ready', 'ctr/web', '--timeout=30s']);
    await waitFor(answers, { what: 'the published port', timeoutMs: 60_000 });
    assert.deepEqual(await identityOf('bystander'), before.bystander);
  });

  await t.test('kill -9 of the monitor of a container: the container is restarted and says why', async () => {
    const { restartCount } = await identityOf('web');
    process.kill(await monitorOf(instance, 'web'), 'SIGKILL');
    await waitFor(async () => (await identityOf('web')).restartCount === restartCount + 1, {
      what: 'the restart',
      timeoutMs: 60_000,
    });
    await kubectlOk(['wait', '--for=condition=Ready', 'ctr/web', '--timeout=30s']);
    await waitFor(answers, { what: 'the published port', timeoutMs: 60_000 });
    const events = ['events', '--for', 'container.windlass.dev/web'];
    await waitFor(async () => /conmon/.test(await kubectlOk(events)), { what: 'the Event' });
    assert.deepEqual(await identityOf('bystander'), before.bystander);
  });

  await t.test('kill -9 of windlass up itself: the next up takes over', async () => {
    const now = { web: await identityOf('web'), bystander: await identityOf('bystander') };
    const state = JSON.parse(readFileSync(join(instance.run, 'up.json'), 'utf8')) as { up: { pid: number } };
    process.kill(state.up.pid, 'SIGKILL');
    await waitFor(() => !processExists(state.up.pid), { what: 'the end of up' });
    await instance.up();
    await kubectlOk(['wait', '--for=condition=Ready', 'ctr', '--all', '--timeout=30s']);
    assert.deepEqual({ web: await identityOf('web'), bystander: await identityOf('bystander') }, now);
    assert.equal(await answers(), true);
  });
});

async function bridgeOf(instance: TestInstance): Promise<string> {
  const name = await instance.kubectlOk(['get', 'net', 'default', '-o', 'jsonpath={.status.nodes[0].bridge}']);
  assert.notEqual(name, '');
  return name;
}

function nftFamilies(table: string): string[] {
  return execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' })
    .split('\n')
    .flatMap((line) => (line.endsWith(` ${table}`) ? [line.split(' ')[1] ?? ''] : []));
}

interface UpFile {
  readonly components: readonly { name: string; state: string; process?: { pid: number } }[];
}
const readUp = (instance: TestInstance): UpFile =>
  JSON.parse(readFileSync(join(instance.run, 'up.json'), 'utf8')) as UpFile;

function pidOf(instance: TestInstance, name: string): number {
  const pid = readUp(instance).components.find((component) => component.name === name)?.process?.pid;
  assert.ok(pid, `${name} has no process`);
  return pid;
}

function isReady(instance: TestInstance, name: string, killed: number): boolean {
  const component = readUp(instance).components.find((candidate) => candidate.name === name);
  return component?.state === 'ready' && component.process?.pid !== killed;
}

function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const idOf = async (instance: TestInstance, container: string): Promise<string> =>
  instance.kubectlOk(['get', 'ctr', container, '-o', 'jsonpath={.status.containerID}']);

const pids = (): string[] => readdirSync('/proc').filter((name) => /^\d+$/.test(name));

/** The host's pid of a container's first process: the lowest of those whose cgroup names the container. */
async function processIn(instance: TestInstance, container: string): Promise<number> {
  const id = await idOf(instance, container);
  const found = pids().filter((pid) => readProc(pid, 'cgroup').includes(id));
  const first = found.map(Number).toSorted((a, b) => a - b)[0];
  assert.ok(first, `no process of container ${id}`);
  return first;
}

/** The pid of the conmon that watches over a container. */
async function monitorOf(instance: TestInstance, container: string): Promise<number> {
  const id = await idOf(instance, container);
  const found = pids().find(
    (pid) => readProc(pid, 'comm').startsWith('conmon') && readProc(pid, 'cmdline').includes(id),
  );
  assert.ok(found, `no monitor of container ${id}`);
  return Number(found);
}

/** Empty for a process that ended after it was listed. */
function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
