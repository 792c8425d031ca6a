// The store of a server is lost and put back from a snapshot: what was there before the snapshot is there again, and
// containers have not noticed.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { importBusybox } from '../support/busybox.ts';
import { startInstance } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

test('recover', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'etcdctl', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const flags = ['--snapshot-interval-seconds', '1', '--snapshot-keep', '2'];
  const instance = await startInstance({ flags, sandboxPool: 0 });
  t.after(() => instance[Symbol.asyncDispose]());
  const { kubectlOk, windlass } = instance;
  let before = 0;
  const folder = join(instance.home, 'etcd-snapshots');
  const snapshots = (): string[] => {
    try {
      return readdirSync(folder).filter((name) => name.endsWith('.db'));
    } catch {
      return [];
    }
  };
  await importBusybox(instance);
  await instance.apply(`
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: web }
spec: { imageName: busybox, command: [sleep, '1000'] }`);
  await kubectlOk(['wait', '--for=condition=Ready', 'ctr/web', '--timeout=60s']);
  const containerId = await kubectlOk(['get', 'ctr', 'web', '-o', 'jsonpath={.status.containerID}']);

  await t.test('snapshots are taken, and no more are kept than asked for', async () => {
    const newest = snapshots().toSorted().at(-1) ?? '';
    // Two more: the later one has begun after the Container was there.
    await waitFor(() => snapshots().filter((name) => name > newest).length >= 2, {
      timeoutMs: 30_000,
      what: 'two snapshots',
    });
    assert.equal(snapshots().length, 2);
  });

  await t.test('it is refused while windlass runs, and from what is no whole snapshot', async () => {
    const running = await windlass(['recover']);
    assert.match(running.stderr, /already running as process/);
    assert.equal(running.code, 4);
    await kubectlOk(['create', 'configmap', 'later']);
    const version = Number(
      await kubectlOk(['get', 'configmap', 'later', '-o', 'jsonpath={.metadata.resourceVersion}']),
    );
    assert.equal((await windlass(['down'])).code, 0);
    for (const [name, damage] of Object.entries({
      cut: (file: string) => truncateSync(file, 1_000),
      damaged: (file: string) => {
        const bytes = readFileSync(file);
        bytes[5_000] = (bytes[5_000] ?? 0) ^ 1;
        writeFileSync(file, bytes);
      },
    })) {
      const file = join(instance.home, name);
      copyFileSync(join(folder, snapshots()[0] as string), file);
      damage(file);
      const { code, stderr } = await windlass(['recover', '--from', file]);
      assert.match(stderr, /--from .* (is no snapshot of etcd, or not the whole of one|is damaged: its hash)/);
      assert.equal(code, 2);
    }
    assert.match((await windlass(['recover', '--from', '/nonexistent'])).stderr, /--from \/nonexistent cannot be read/);
    before = version;
  });

  await t.test('killed in the middle, it leaves nothing running, and can be repeated', async () => {
    const folderOfIt = join(instance.home, 'etcd.recovered');
    const running = windlass(['recover', '--raise-revision', '2000']);
    const pid = await waitFor(() => etcdOn(folderOfIt), { timeoutMs: 60_000, intervalMs: 20, what: 'its etcd' });
    process.kill(parentOf(pid), 'SIGKILL');
    assert.notEqual((await running).code, 0);
    await waitFor(() => etcdOn(folderOfIt) === undefined, { what: 'its etcd being gone' });
  });

  await t.test(
    'what was lost comes back, later than anything that was seen, and the container is the same',
    async () => {
      rmSync(join(instance.home, 'etcd'), { recursive: true });
      const { code, stderr } = await windlass(['recover', '--raise-revision', '2000']);
      assert.equal(code, 0, stderr);
      assert.match(stderr, /recovering from .*etcd-\d{8}T\d{6}Z\.db/);
      await instance.up();
      await kubectlOk(['wait', '--for=condition=Ready', 'ctr/web', '--timeout=60s']);
      assert.equal(await kubectlOk(['get', 'ctr', 'web', '-o', 'jsonpath={.status.containerID}']), containerId);
      await kubectlOk(['create', 'configmap', 'newer']);
      const version = Number(
        await kubectlOk(['get', 'configmap', 'newer', '-o', 'jsonpath={.metadata.resourceVersion}']),
      );
      assert.ok(version > before, `${version} after ${before}`);
      assert.equal(await kubectlOk(['exec', 'web', '--', 'echo', 'same']), 'same\n');
    },
  );
});

/** The etcd that runs on that folder. */
function etcdOn(folder: string): number | undefined {
  const found = readdirSync('/proc').find((name) => {
    const words = /^\d+$/.test(name) ? readIfThere(`/proc/${name}/cmdline`).split('\0') : [];
    return /(^|\/)etcd$/.test(words[0] ?? '') && words.includes(folder);
  });
  return found === undefined ? undefined : Number(found);
}

const parentOf = (pid: number): number => Number(/^PPid:\s*(\d+)/m.exec(readIfThere(`/proc/${pid}/status`))?.[1]);

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
