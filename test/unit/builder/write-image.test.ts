import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeImage, type FinishedStage } from '../../../builder/image/write-image.ts';
import { openContentStore } from '../../../oci/content-store.ts';
import { digestOf } from '../../../oci/digest.ts';

const layer = (mediaType: string) => ({ mediaType, digest: digestOf(mediaType), size: 7 });

const STAGE: FinishedStage = {
  platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
  config: { Env: ['A=1'], Cmd: [], ExposedPorts: { '9/tcp': {}, '80/tcp': {} }, WorkingDir: '' },
  author: 'somebody',
  layers: [
    layer('application/vnd.docker.image.rootfs.diff.tar.gzip'),
    layer('application/vnd.oci.image.layer.v1.tar+zstd'),
    layer('application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'),
    layer('application/vnd.oci.image.layer.v1.tar'),
  ],
  diffIds: ['1', '2', '3', '4'].map((text) => digestOf(text)),
  history: [{ created: '1970-01-01T00:00:00Z', created_by: 'ENV A=1', empty_layer: true }],
  newestSeconds: 1_700_000_000,
};

test('the documents of an image are those of its stage, in one order and one kind', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'windlass-write-image-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const store = openContentStore(root);
  const protect = (): void => undefined;
  const image = await writeImage(store, STAGE, { protect, labels: new Map(Object.entries({ b: '2', a: '1' })) });
  assert.deepEqual(
    image.manifest.layers.map(({ mediaType }) => mediaType),
    [
      'application/vnd.oci.image.layer.v1.tar+gzip',
      'application/vnd.oci.image.layer.v1.tar+zstd',
      'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      'application/vnd.oci.image.layer.v1.tar',
    ],
  );
  const text = (await store.read(image.manifest.config.digest, 1_000_000)).toString();
  assert.equal(
    text.slice(0, text.indexOf('"rootfs"')),
    '{"created":"2023-11-14T22:13:20Z","author":"somebody","architecture":"arm64","os":"linux","variant":"v8",' +
      '"config":{"ExposedPorts":{"80/tcp":{},"9/tcp":{}},"Env":["A=1"],"Labels":{"a":"1","b":"2"}},',
  );
  const turned = { ...STAGE, config: { WorkingDir: '', ExposedPorts: { '80/tcp': {}, '9/tcp': {} }, Env: ['A=1'] } };
  const again = await writeImage(store, turned, { protect, labels: new Map(Object.entries({ a: '1', b: '2' })) });
  assert.equal(again.descriptor.digest, image.descriptor.digest);
});
