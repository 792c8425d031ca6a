import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../../oci/digest.ts';
import { chainIds, parseImageConfig, parseManifest, type Manifest } from '../../../oci/manifest.ts';
import { MEDIA_TYPES } from '../../../oci/media-types.ts';
import { selectManifest, platformScore } from '../../../oci/platform.ts';

const blob = (mediaType: string, text = mediaType) => ({ mediaType, digest: digestOf(text), size: text.length });
const config = blob(MEDIA_TYPES.ociConfig);
const layer = blob(MEDIA_TYPES.ociLayer);
const good = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [layer] };
const parse = (document: unknown, contentType?: string) =>
  parseManifest(
    Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)),
    contentType,
    'manifest x',
  );
const invalid = (message: RegExp) => ({ reason: 'Invalid', message });

test('parseManifest() takes OCI and Docker manifests and indexes, with or without their media type', () => {
  assert.equal(parse(good, MEDIA_TYPES.ociManifest).kind, 'manifest');
  assert.equal(parse({ ...good, mediaType: undefined }).mediaType, MEDIA_TYPES.ociManifest);
  assert.equal(parse({ ...good, mediaType: undefined }, 'application/json').kind, 'manifest');
  const docker = { ...good, mediaType: MEDIA_TYPES.dockerManifest, config: blob(MEDIA_TYPES.dockerConfig) };
  assert.equal(parse(docker, `${MEDIA_TYPES.dockerManifest}; charset=utf-8`).mediaType, MEDIA_TYPES.dockerManifest);
  assert.equal(parse({ schemaVersion: 2, manifests: [] }).kind, 'index');
});

test('manifest confusion (CVE-2021-41190): a document of two kinds is refused', () => {
  assert.throws(() => parse({ ...good, manifests: [] }), invalid(/both layers and manifests/));
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] };
  assert.throws(() => parse({ ...index, config }), invalid(/both config and manifests/));
  assert.throws(() => parse({ ...good, fsLayers: [] }), invalid(/fsLayers/));
  assert.throws(() => parse(good, MEDIA_TYPES.ociIndex), invalid(/Content-Type .* and mediaType .* differ/));
  assert.throws(() => parse(good, MEDIA_TYPES.dockerManifest), invalid(/differ/));
  assert.throws(() => parse({ ...good, mediaType: undefined }, MEDIA_TYPES.ociIndex), invalid(/manifests/));
  assert.throws(() => parse({ ...good, mediaType: 7 }), invalid(/mediaType is not a string/));
  assert.throws(() => parse({ ...good, config: layer }), invalid(/not a container image/));
  assert.throws(() => parse({ ...good, layers: [config] }), invalid(/unsupported type/));
  const bytes = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } }),
  );
  assert.throws(() => parseImageConfig(bytes, good as Manifest, 'config y'), invalid(/0 diff ids for 1 layers/));
});

test('parseManifest() refuses Docker schema 1 by name', () => {
  assert.throws(() => parse({ schemaVersion: 1, fsLayers: [] }), invalid(/Docker schema 1 manifest/));
  assert.throws(
    () => parse({}, 'application/vnd.docker.distribution.manifest.v1+prettyjws'),
    invalid(/Docker schema 1 manifest/),
  );
});

test('pull crash (CVE-2021-21285): truncated JSON, null arrays, missing fields, huge documents are errors', () => {
  for (const document of ['', '{', 'null', '[]', '"x"', '{"schemaVersion":2', '[[[[', '{"schemaVersion":2}']) {
    assert.throws(() => parse(document), { reason: 'Invalid' }, document);
  }
  assert.throws(() => parse({ ...good, layers: null }), invalid(/layers/));
  assert.throws(() => parse({ ...good, config: null }), invalid(/config/));
  assert.throws(() => parse({ ...good, layers: [null] }), invalid(/layers\.0/));
  assert.throws(() => parse({ ...good, layers: [{ ...layer, size: -1 }] }), invalid(/layers\.0\.size/));
  assert.throws(() => parse({ ...good, layers: [{ ...layer, digest: 'sha256:../..' }] }), invalid(/layers\.0\.digest/));
  assert.throws(() => parse({ schemaVersion: 2, manifests: null }), invalid(/manifests/));
  const many = Array.from({ length: 10_000 }, () => good.config);
  assert.throws(() => parse({ schemaVersion: 2, manifests: many }), invalid(/manifests/));
  assert.throws(() => parse({ ...good, layers: Array.from({ length: 501 }, () => layer) }), invalid(/layers/));
  const deep = `{"schemaVersion":2,"x":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}}`;
  assert.throws(() => parse(deep), { reason: 'Invalid' });
  const large = { ...good, annotations: { a: 'x'.repeat(4 * 1024 * 1024) } };
  assert.throws(() => parse(large), invalid(/the limit is 4194304/));
  assert.equal(parse({ ...good, annotations: { a: 'x'.repeat(3_900_000) } }).kind, 'manifest');
});

test('parseImageConfig() reads null as absent', () => {
  const bytes = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: null, Env: ['A=b'], Volumes: null, ExposedPorts: { '80/tcp': {} } },
      rootfs: { type: 'layers', diff_ids: [digestOf('l')] },
      history: null,
    }),
  );
  const parsed = parseImageConfig(bytes, good as Manifest, 'config y');
  assert.equal(parsed.config.Cmd, undefined);
  assert.deepEqual(parsed.config.Env, ['A=b']);
  assert.deepEqual(chainIds([digestOf('a'), digestOf('b')], digestOf), [
    digestOf('a'),
    digestOf(`${digestOf('a')} ${digestOf('b')}`),
  ]);
});

test('platformScore() prefers the newest variant the machine runs', () => {
  const arm7 = { os: 'linux', architecture: 'arm', variant: 'v7' };
  assert.ok(platformScore(arm7, arm7) > platformScore({ ...arm7, variant: 'v6' }, arm7));
  assert.equal(platformScore(arm7, { ...arm7, variant: 'v6' }), 0);
  const arm64 = { os: 'linux', architecture: 'arm64' };
  assert.ok(platformScore(arm64, { ...arm64, variant: 'v8' }) > 0);
  assert.equal(platformScore({ os: 'windows', architecture: 'amd64' }, { os: 'linux', architecture: 'amd64' }), 0);
});

test('pull crash: an index that contains itself ends in an error', async () => {
  const inner = { mediaType: MEDIA_TYPES.ociIndex, digest: digestOf('loop'), size: 1 };
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [inner] }));
  await assert.rejects(
    selectManifest(inner, async () => bytes, { os: 'linux', architecture: 'amd64' }),
    invalid(/nested more than 4 deep/),
  );
});
