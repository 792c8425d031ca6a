// A disk that fills up in the middle of a build, and of a push: told in words, nothing half made stays, and what was there
// is whole.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { parseDigest } from '../../../oci/digest.ts';
import { openContentStore } from '../../../oci/content-store.ts';
import { mountTmpfs } from '../../../runtime-shim/host/mount.ts';
import { buildImage, configOf, mustBuild } from '../../support/builds.ts';
import { startLiveRegistry } from '../../support/live-registry.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { BUSYBOX, startTestShim, type TestShim } from '../../support/shim.ts';

const SMALL = `FROM ${BUSYBOX}\nRUN echo small >/small\n`;

const openShim = (): Promise<TestShim> =>
  startTestShim({
    sandboxPool: 0,
    flags: ['--disk-reserve', '0'],
    prepare: (root) => mountTmpfs(root, 'size=160m'),
  });

const canRun = (t: TestContext): boolean => requireRoot(t) && requirePrograms(t, 'conmon', 'runc');

/** Every blob is what its name says (read() sees to that), and nothing lies where what is being written lies. */
async function assertConsistent({ instance }: TestShim): Promise<void> {
  const store = openContentStore(paths.content(instance));
  const folder = join(paths.content(instance), 'blobs', 'sha256');
  for (const hex of readdirSync(folder)) {
    await store.read(parseDigest(`sha256:${hex}`), 512 * 1024 * 1024);
  }
  assert.deepEqual(readdirSync(join(paths.content(instance), 'ingest')), []);
  assert.deepEqual(readdirSync(join(paths.snapshots(instance), 'builds')), []);
}

for (const [what, instruction] of [
  ['a command', 'RUN dd if=/dev/zero of=/large bs=1M count=300'],
  // They fit as a file, but not once more as a layer.
  ['the layer of a step', 'RUN dd if=/dev/urandom of=/large bs=1M count=90'],
] as const) {
  test(`out of disk in ${what}: the build fails by its instruction, and the next one has the room again`, async (t) => {
    if (!canRun(t)) return;
    await using shim = await openShim();
    const first = await mustBuild(shim, { inlineFiles: { Dockerfile: SMALL }, references: ['windlass.local/small:1'] });
    const { failure } = await buildImage(shim, { inlineFiles: { Dockerfile: `${SMALL}${instruction}\n` } });
    assert.equal(failure?.line, 3, failure?.message);
    assert.match([failure.message, ...failure.output].join('\n'), /no space left|disk is full|ENOSPC/i);
    await assertConsistent(shim);
    assert.equal((await mustBuild(shim, { inlineFiles: { Dockerfile: SMALL } })).image.digest, first.image.digest);
    await mustBuild(shim, { inlineFiles: { Dockerfile: `${SMALL}RUN echo more >/more\n` } });
    await shim.kill();
    await shim.start();
    assert.ok(await configOf(shim, 'windlass.local/small:1'));
    await assertConsistent(shim);
  });
}

test('out of disk in a push: it fails in words, and what was there is whole', async (t) => {
  if (!canRun(t)) return;
  const registry = await startLiveRegistry(t);
  await using shim = await openShim();
  const reference = 'windlass.local/pushed:1';
  // Random bytes do not get smaller: the compressed layer has no room beside the plain one.
  await mustBuild(shim, {
    inlineFiles: { Dockerfile: `FROM ${BUSYBOX}\nRUN dd if=/dev/urandom of=/large bs=1M count=60\n` },
    references: [reference],
  });
  const target = `${registry.host}/shop/pushed:1`;
  const push = async (): Promise<void> => {
    for await (const progress of shim.cri.node.pushImage({ image: reference, reference: target })) void progress;
  };
  await assert.rejects(push(), /no space left|disk is full|ENOSPC/i);
  await assertConsistent(shim);
  await shim.cri.node.buildCache({ prune: true, keepBytes: 0 });
  assert.ok(await configOf(shim, reference));
});
