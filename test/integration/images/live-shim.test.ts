// Images through the sockets of a real shim process: what crosses a restart, deadlines, and the calls beyond CRI.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { makeImage } from '../../support/images.ts';
import { startBadRegistry, startTestRegistry } from '../../support/registry.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { BUSYBOX, startTestShim, type TestShim } from '../../support/shim.ts';
import { waitFor } from '../../support/wait.ts';

const canRun = (t: Parameters<typeof requireRoot>[0]): boolean =>
  requireRoot(t) && requirePrograms(t, 'runc', 'conmon', 'docker-registry', 'skopeo');

/** Bytes of blobs that are not whole yet. */
function partialBytes({ instance }: TestShim): number {
  const folder = join(paths.content(instance), 'ingest');
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

test('a pull that kill -9 of the shim broke off goes on with Range where it was', async (t) => {
  if (!canRun(t)) return;
  const content = randomBytes(6 * 1024 * 1024);
  const image = makeImage({ layers: [[{ name: 'noise', content }]], compression: 'none' });
  const layer = image.layers[0]!;
  let isStuck = true;
  await using registry = await startBadRegistry(image, ({ url }, response) => {
    if (!isStuck || url?.endsWith(layer.digest) !== true) return false;
    // Two thirds, and then silence.
    response.writeHead(200, { 'content-length': String(layer.size) });
    response.write(image.blobs.get(layer.digest)?.subarray(0, 4 * 1024 * 1024));
    return true;
  });
  await using shim = await startTestShim();
  const pull = () => shim.cri.images.pullImage({ image: { image: `${registry.host}/x:1` } });
  const broken = assert.rejects(pull());
  await waitFor(() => partialBytes(shim) >= 2 * 1024 * 1024, { what: 'bytes on disk' });
  await shim.kill();
  await broken;
  isStuck = false;
  await shim.start();
  const kept = partialBytes(shim);
  const before = registry.requests.length;
  assert.equal((await pull()).imageRef, image.config.digest);
  const again = registry.requests.slice(before).filter(({ url }) => url.endsWith(layer.digest));
  assert.deepEqual(
    again.map(({ range }) => range),
    [`bytes=${kept}-`],
  );
  assert.equal(partialBytes(shim), 0);
});

test('a pull whose deadline passes answers DEADLINE_EXCEEDED, and the next one ends well', async (t) => {
  if (!canRun(t)) return;
  await using registry = await startTestRegistry();
  await using shim = await startTestShim();
  const reference = await registry.push(makeImage(), 'deadline', '1');
  const image = { image: { image: reference } };
  await assert.rejects(shim.cri.images.pullImage(image, { timeoutMs: 1 }), { reason: 'Timeout' });
  const { imageRef } = await shim.cri.images.pullImage(image);
  const { images } = await shim.cri.images.listImages({ filter: { image: { image: reference } } });
  assert.deepEqual(
    images.map(({ id }) => id),
    [imageRef],
  );
});

test('push, history and export on the socket: progress, digest, bytes that skopeo reads', async (t) => {
  if (!canRun(t)) return;
  await using registry = await startTestRegistry();
  await using shim = await startTestShim();
  const { node } = shim.cri;
  const target = `${registry.host}/team/busybox:1`;
  const { digest, layers } = await node.inspectImage({ image: BUSYBOX });
  const steps = [];
  for await (const step of node.pushImage({ image: BUSYBOX, reference: target })) steps.push(step);
  const last = steps.at(-1)!;
  assert.deepEqual([last.phase, last.digest, last.completedBytes], ['Done', digest, last.totalBytes]);
  assert.deepEqual(
    last.layers.map(({ state }) => state),
    layers.map(() => 'Pushed').concat('Pushed'),
  );
  const remote = execFileSync(
    'skopeo',
    ['inspect', '--tls-verify=false', '--format={{.Digest}}', `docker://${target}`],
    {
      encoding: 'utf8',
    },
  );
  assert.equal(remote.trim(), digest);

  const { entries } = await node.imageHistory({ image: BUSYBOX });
  assert.deepEqual(
    entries.map(({ layerDigest, emptyLayer }) => [layerDigest, emptyLayer]),
    layers.map((layer) => [layer.digest, false]),
  );
  await assert.rejects(node.imageHistory({ image: 'absent' }), { reason: 'NotFound' });

  for (const [format, transport] of [
    ['oci-layout', 'oci-archive'],
    ['docker-archive', 'docker-archive'],
  ] as const) {
    const pieces: Buffer[] = [];
    for await (const { data } of node.exportImages({ images: [BUSYBOX], format })) pieces.push(data);
    const path = join(shim.instance.home, `${format}.tar`);
    writeFileSync(path, Buffer.concat(pieces));
    const config = execFileSync('skopeo', ['inspect', '--config', '--raw', `${transport}:${path}`], {
      encoding: 'utf8',
    });
    assert.equal((JSON.parse(config) as { os: string }).os, 'linux');
    const imported = await node.importImage({ path, references: [`windlass.local/${format}:1`] });
    assert.equal(imported.imageId, (await node.inspectImage({ image: BUSYBOX })).imageId);
  }
  const bad = async (): Promise<void> => {
    for await (const _ of node.exportImages({ images: [BUSYBOX], format: 'zip' }));
  };
  await assert.rejects(bad(), { reason: 'Invalid', message: /format: want oci-layout or docker-archive/ });
});
