// securityContext.userNamespace: Auto, with the real runtime shim and kernel.
import assert from 'node:assert/strict';
import { lstat, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FIRST_ID, RANGE_SIZE } from '../../../controllers/node-agent/users/user-ranges.ts';
import { realNodeOfFile } from '../../support/real-node.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const node = realNodeOfFile();
const AUTO = 'args: [sleep, "1000"], securityContext: { userNamespace: Auto }';

test('each Container has its own range of host ids, and keeps it with its files over a restart', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon', 'catatonit', 'kubectl')) return;
  const host = await mkdtemp(join(tmpdir(), 'windlass-users-'));
  try {
    await mkdir(join(host, 'data'));
    await node().put(`
apiVersion: v1
kind: Secret
metadata: { name: secret }
stringData: { key: hidden }`);
    const mounts = `mounts: [{ mountPath: /data, hostPath: ${host}/data }, { mountPath: /s, secret: { name: secret }, mode: 256 }, { mountPath: /scratch, volume: kept }, { mountPath: /sub, volume: kept, subPath: deep/er }]`;
    await node().put(`
apiVersion: windlass.dev/v1
kind: Volume
metadata: { name: kept }
spec: {}`);
    await node().make('first', `${AUTO}, ${mounts}`);
    await node().make('second', AUTO);
    for (const name of ['first', 'second']) await node().reach(name, /^Running$/);
    const rangeOf = async (name: string): Promise<number> => {
      const map = (await node().sh(name, 'cat /proc/self/uid_map')).trim().split(/\s+/).map(Number);
      assert.deepEqual([map[0], map[2], ((map[1] ?? 0) - FIRST_ID) % RANGE_SIZE], [0, RANGE_SIZE, 0]);
      return map[1] ?? 0;
    };
    const [first, second] = [await rangeOf('first'), await rangeOf('second')];
    assert.notEqual(first, second);
    assert.match(
      await readFile(`/proc/${await node().pidOf('first')}/status`, 'utf8'),
      new RegExp(`Uid:\\t${first}\\t`),
    );
    // Files have inside the owners that they have outside; a name is resolved, the network works.
    assert.equal(
      await node().sh('first', 'stat -c %u:%g / /data /s/key /scratch /sub; cat /s/key'),
      '0:0\n0:0\n0:0\n0:0\n0:0\nhidden',
    );
    await node().sh('first', 'echo x > /data/made; chown 7:8 /data/made; echo x > /scratch/made; echo x > /own');
    const made = await lstat(join(host, 'data', 'made'));
    assert.deepEqual([made.uid, made.gid], [7, 8]);
    assert.match(await node().sh('first', 'nslookup second 2>&1; ping -c1 -W2 second'), /1 packets received/);
    const before = await node().status('first', 'containerID');
    process.kill(await node().pidOf('first'), 'SIGKILL');
    await node().reachOther('first', before);
    assert.equal(await rangeOf('first'), first);
    assert.equal(await node().sh('first', 'stat -c %u:%g /own /scratch/made /data/made'), '0:0\n0:0\n7:8');
    await node().remove('first', 'second');
    const file = join(node().home, 'agent', 'user-ranges.json');
    await waitFor(async () => (await readFile(file, 'utf8')) === '{}', { what: 'the ranges to be given back' });
  } finally {
    await rm(host, { recursive: true, force: true });
  }
});

test('Auto is refused together with a namespace of others, by name', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon', 'kubectl')) return;
  await node().make('shares', `${AUTO}, hostPID: true`);
  await node().reach('shares', /^UserNamespaceConflict$/);
  assert.match(await node().status('shares', 'conditions[?(@.type=="Ready")].message'), /hostPID/);
  await node().remove('shares');
});
