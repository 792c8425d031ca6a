// resources.limits.ephemeral-storage and inodes of a Container, with the real runtime shim: what the user sees.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enforcesProjectQuota } from '../../../runtime-shim/host/project-quota.ts';
import { realNodeOfFile } from '../../support/real-node.ts';
import { requireFeature, requirePrograms, requireRoot } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const node = realNodeOfFile();
const FILL = '{ test -e /first || echo kept > /first; yes | head -c 200m > /big; sleep 1000; }';

test('a Container beyond its storage limit is evicted, says so, and starts anew with a fresh layer or not at all', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'conmon', 'kubectl')) return;
  if (!requireFeature(t, !enforcesProjectQuota(node().home), 'the kernel keeps limits on this file system')) return;
  const limits = 'resources: { limits: { ephemeral-storage: 20Mi, inodes: 5000 } }';
  await Promise.all([
    node().make('never', `restartPolicy: Never, ${limits}, args: [sh, -c, "${FILL}"]`),
    // The second run finds nothing of the first one, or it would fill the layer again.
    node().make(
      'always',
      `${limits}, args: [sh, -c, "test -e /scratch/again && exec sleep 1000; touch /scratch/again; ${FILL}"], mounts: [{ mountPath: /scratch }]`,
    ),
    node().make('neighbour', `args: [sleep, "1000"]`),
  ]);
  await node().reach('never', /^Evicted$/);
  assert.equal(await node().status('never', 'phase'), 'Failed');
  const message = /exited with code 137: its writable layer uses at least .*MB of 21MB \(ephemeral-storage\)/;
  assert.match(await node().status('never', 'message'), message);
  await waitFor(async () => message.test((await node().kubectl(['describe', 'ctr', 'never'])).stdout), {
    what: 'the Event',
  });
  const events = await node().kubectlOk([
    'get',
    'events',
    '--field-selector',
    'involvedObject.name=never,reason=Evicted',
  ]);
  assert.match(events, /Warning/);

  await node().reach('always', /^Running$/);
  await waitFor(async () => (await node().status('always', 'lastTermination.reason')) === 'Evicted', {
    what: 'the end of the first run',
    timeoutMs: 30_000,
  });
  await node().reach('always', /^Running$/);
  assert.equal(await node().sh('always', 'ls -d /big /first 2>/dev/null; ls /scratch'), 'again');
  assert.equal(await node().status('neighbour', 'restartCount'), '0');

  // In place: a smaller limit, then none.
  const before = await node().status('neighbour', 'containerID');
  await node().sh('neighbour', 'yes | head -c 30m > /big');
  await node().patch('neighbour', { resources: { limits: { 'ephemeral-storage': '1Gi' } } });
  await node().patch('neighbour', { resources: { limits: { 'ephemeral-storage': '10Mi' } } });
  await node().reachOther('neighbour', before);
  assert.equal(await node().status('neighbour', 'lastTermination.reason'), 'Evicted');
  await node().remove('never', 'always', 'neighbour');
});

test('a limit that is no quantity is refused with its path', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'kubectl')) return;
  await assert.rejects(node().make('bad', 'resources: { limits: { ephemeral-storage: "x" } }'), /ephemeral-storage/);
});
