import assert from 'node:assert/strict';
import { busyboxFiles } from '../../support/images.ts';
import { criSuite, type SecurityContext } from '../../support/cri-suite.ts';

const suite = criSuite();

/** uid, gid and groups of the first process, as it says itself and as the status says. */
async function identityOf(
  securityContext: SecurityContext,
  image?: string,
): Promise<{ said: string; status: unknown }> {
  const containerId = await suite.runSleeper({
    command: ['sh', '-c', 'echo "$(id -u) $(id -g) $(id -G | tr " " "\\n" | sort -n | xargs)"; sleep 1000'],
    linux: { securityContext },
    ...(image === undefined ? {} : { image: { image } }),
  });
  await suite.untilLogged(containerId, ' ');
  const [said = ''] = await suite.shim.readLog(containerId);
  assert.equal(
    await suite.shim.exec(containerId, 'sh', '-c', 'echo "$(id -u) $(id -g)"'),
    said.split(' ', 2).join(' '),
  );
  return { said, status: (await suite.shim.status(containerId)).user?.linux };
}

suite.test('run_as_user, run_as_username and run_as_group decide who runs', async () => {
  assert.equal((await identityOf({ runAsUser: { value: 1001 } })).said, '1001 0 0');
  assert.equal((await identityOf({ runAsUsername: 'www-data' })).said, '33 33 33');
  const both = { runAsUser: { value: 1001 }, runAsGroup: { value: 2002 } };
  const { said, status } = await identityOf(both);
  assert.equal(said, '1001 2002 2002');
  assert.deepEqual(status, { uid: 1001, gid: 2002, supplementalGroups: [2002] });
});

suite.test('run_as_group without a user is refused', async () => {
  await assert.rejects(identityOf({ runAsGroup: { value: 2002 } }), { reason: 'Invalid', message: /run_as_group/ });
});

suite.test('supplemental groups are added, and the primary group is one of them', async () => {
  const { said, status } = await identityOf({ supplementalGroups: [1234, 5678] });
  assert.equal(said, '0 0 0 1234 5678');
  assert.deepEqual(status, { uid: 0, gid: 0, supplementalGroups: [0, 1234, 5678] });
});

suite.test('policy Merge takes the groups of the image along, Strict does not', async () => {
  const files = busyboxFiles().filter(({ name }) => name !== 'etc/group' && name !== 'etc/passwd');
  files.push({ name: 'etc/passwd', content: 'root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n' });
  files.push({ name: 'etc/group', content: 'root:x:0:\nuser:x:1000:\npredefined:x:50000:user\n' });
  const image = await suite.shim.importImage(files, { Cmd: ['sh'], User: '1000' }, 'windlass.local/groups:1');
  const supplementalGroups = [60_000];
  const merged = await identityOf({ supplementalGroups, supplementalGroupsPolicy: 'Merge' }, image);
  assert.equal(merged.said, '1000 1000 1000 50000 60000');
  assert.deepEqual(merged.status, { uid: 1000, gid: 1000, supplementalGroups: [1000, 50_000, 60_000] });
  const strict = await identityOf({ supplementalGroups, supplementalGroupsPolicy: 'Strict' }, image);
  assert.equal(strict.said, '1000 1000 1000 60000');
  assert.deepEqual(strict.status, { uid: 1000, gid: 1000, supplementalGroups: [1000, 60_000] });
});

suite.test('ids out of range and unknown names never become root', async () => {
  for (const securityContext of [
    { runAsUser: { value: 4_294_967_296 } },
    { runAsUser: { value: -1 } },
    { runAsUsername: 'nobody-knows' },
    { runAsUser: { value: 0 }, runAsGroup: { value: 2 ** 31 } },
    { supplementalGroups: [2 ** 32] },
  ]) {
    await assert.rejects(identityOf(securityContext), { reason: 'Invalid' }, JSON.stringify(securityContext));
  }
});
