// What kubectl shows of the node itself.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startRealNode } from '../../support/real-node.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';

test('kubectl describe node tells what it is, what it has, and what runs on it', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'runc', 'conmon', 'kubectl')) return;
  await using node = await startRealNode();
  const limits = "resources: { limits: { memory: 64Mi, cpu: '0.5' }, requests: { memory: 32Mi, cpu: 100m } }";
  await node.make('busy', `args: [sleep, '1000'], ${limits}`);
  await node.make('done', `args: ['true'], restartPolicy: Never`);
  await node.reach('busy', /^Running$/);
  await node.reach('done', /^Completed$/);
  const text = await node.kubectlOk(['describe', 'node']);
  assert.match(text, /^ {2}Ready +True .* KubeletReady /m);
  for (const type of ['MemoryPressure', 'DiskPressure', 'PIDPressure'])
    assert.match(text, new RegExp(`^ {2}${type} +False`, 'm'));
  assert.match(
    text,
    /^Capacity:\n {2}cpu: +\d+\n {2}ephemeral-storage: +\d+Ki\n {2}memory: +\d+Ki\n {2}pods: +\d+k?$/m,
  );
  assert.match(text, /^ {2}InternalIP: +\d+\./m);
  assert.match(text, /^ {2}Container Runtime Version: +windlass:\/\//m);
  assert.match(text, /^ {2}HolderIdentity: +\S+$/m);
  // A finished container takes nothing and is not listed.
  assert.match(text, /^Non-terminated Pods: +\(1 in total\)$/m);
  assert.match(text, /^ {2}default +busy +100m \(\d+%\) +500m \(\d+%\) +32Mi \(\d+%\) +64Mi \(\d+%\)/m);
  assert.match(text, /^ {2}cpu +100m \(\d+%\) +500m \(\d+%\)$/m);
  const top = await node.kubectlOk(['get', 'nodes', '-o', 'wide']);
  assert.match(top, /^\S+ +Ready +\S+ +\S+ +v1\.\d+\S* +\d+\.\S+ /m);
});
