// OCI distribution 1.1, manifests, tags and referrers: end-3, end-7 to end-9 and end-12; and the catalog.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, type Digest } from '../../../oci/digest.ts';
import { MEDIA_TYPES } from '../../../oci/media-types.ts';
import { makeImage } from '../../support/images.ts';
import { codeOf, startLiveRegistry, type LiveRegistry } from '../../support/live-registry.ts';

const { ociManifest, ociIndex } = MEDIA_TYPES;
const EMPTY = { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf('{}'), size: 2 };

/** An artifact that says something about `subject`. */
const artifact = (subject: object | undefined, rest: object = {}) => ({
  ...{ schemaVersion: 2, mediaType: ociManifest, config: EMPTY, layers: [EMPTY] },
  ...(subject ? { subject } : {}),
  ...rest,
});

async function list({ send }: LiveRegistry, path: string) {
  const { status, headers, body } = await send('GET', path);
  assert.equal(status, 200, body.toString());
  return { headers, document: JSON.parse(body.toString()) as Record<string, unknown> };
}

test('a manifest comes back byte for byte, by tag and by digest, with its type', async (t) => {
  const registry = await startLiveRegistry(t);
  const image = makeImage();
  await registry.pushImage(image, 'shop/web', 'v1');
  const bytes = image.blobs.get(image.manifest.digest) as Buffer;
  for (const reference of ['v1', image.manifest.digest]) {
    const path = `/v2/shop/web/manifests/${reference}`;
    const get = await registry.send('GET', path, { headers: { accept: 'text/plain' } });
    assert.deepEqual(
      [get.status, get.headers['content-type'], get.headers['docker-content-digest'], get.body],
      [200, ociManifest, image.manifest.digest, bytes],
    );
    const head = await registry.send('HEAD', path);
    assert.deepEqual([head.status, head.headers['content-length'], head.body.length], [200, String(bytes.length), 0]);
  }
  const unknown = await registry.send('GET', '/v2/shop/web/manifests/v2');
  assert.deepEqual([unknown.status, codeOf(unknown)], [404, 'MANIFEST_UNKNOWN']);
});

test('a manifest whose blobs are not in the repository is refused with their names', async (t) => {
  const registry = await startLiveRegistry(t);
  const image = makeImage();
  const body = image.blobs.get(image.manifest.digest) as Buffer;
  const put = await registry.send('PUT', '/v2/shop/web/manifests/v1', {
    headers: { 'content-type': ociManifest },
    body,
  });
  assert.deepEqual([put.status, codeOf(put)], [400, 'MANIFEST_BLOB_UNKNOWN']);
  assert.ok(put.body.includes(image.config.digest) && put.body.includes(String(image.layers[0]?.digest)));
  const sparse = await startLiveRegistry(t, { rules: { allowSparse: true } });
  await sparse.pushManifest('shop/web', 'v1', body);
});

test('an index is taken before its manifests; layers that may not be copied need not be there', async (t) => {
  const registry = await startLiveRegistry(t);
  const missing = { mediaType: ociManifest, digest: digestOf('elsewhere'), size: 9 };
  await registry.pushManifest('shop/web', 'all', { schemaVersion: 2, mediaType: ociIndex, manifests: [missing] });
  await registry.pushManifest('shop/web', 'none', { schemaVersion: 2, mediaType: ociIndex, manifests: [] });
  await registry.pushBlob('shop/web', '{}');
  const foreign = {
    mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    digest: digestOf('x'),
    size: 1,
  };
  await registry.pushManifest('shop/web', 'base', artifact(undefined, { layers: [foreign] }));
});

test('several tags with a push by digest, and SHA-512 digests', async (t) => {
  const registry = await startLiveRegistry(t);
  await registry.pushBlob('shop/web', '{}');
  const body = Buffer.from(JSON.stringify(artifact(undefined)));
  const digest = digestOf(body, 'sha512');
  const path = `/v2/shop/web/manifests/${digest}?tag=1.2.3&tag=1.2&tag=latest`;
  const put = await registry.send('PUT', path, { headers: { 'content-type': ociManifest }, body });
  assert.deepEqual(
    [put.status, put.headers['oci-tag'], put.headers['docker-content-digest']],
    [201, '1.2.3, 1.2, latest', digest],
  );
  for (const tag of ['1.2.3', '1.2', 'latest', digest]) {
    assert.deepEqual((await registry.send('GET', `/v2/shop/web/manifests/${tag}`)).body, body, tag);
  }
  const wrong = `/v2/shop/web/manifests/${digestOf('other')}`;
  const refused = await registry.send('PUT', wrong, { headers: { 'content-type': ociManifest }, body });
  assert.deepEqual([refused.status, codeOf(refused)], [400, 'DIGEST_INVALID']);
});

test('tags are sorted and come in pages', async (t) => {
  const registry = await startLiveRegistry(t);
  await registry.pushBlob('shop/web', '{}');
  for (const tag of ['b', 'a', 'C', 'd']) await registry.pushManifest('shop/web', tag, artifact(undefined));
  const all = await list(registry, '/v2/shop/web/tags/list');
  assert.deepEqual(all.document, { name: 'shop/web', tags: ['C', 'a', 'b', 'd'] });
  const page = await list(registry, '/v2/shop/web/tags/list?n=2');
  assert.deepEqual(
    [page.document['tags'], page.headers.link],
    [['C', 'a'], '</v2/shop/web/tags/list?n=2&last=a>; rel="next"'],
  );
  const rest = await list(registry, '/v2/shop/web/tags/list?n=2&last=a');
  assert.deepEqual([rest.document['tags'], rest.headers.link], [['b', 'd'], undefined]);
  const none = await list(registry, '/v2/shop/web/tags/list?n=0');
  assert.deepEqual([none.document['tags'], none.headers.link], [[], undefined]);
  const unknown = await registry.send('GET', '/v2/no/such/tags/list');
  assert.deepEqual([unknown.status, codeOf(unknown)], [404, 'NAME_UNKNOWN']);
});

test('the catalog lists the repositories that hold something, in pages', async (t) => {
  const registry = await startLiveRegistry(t);
  for (const name of ['b/x', 'a', 'a/b']) await registry.pushBlob(name, '{}');
  assert.deepEqual((await list(registry, '/v2/_catalog')).document, { repositories: ['a', 'a/b', 'b/x'] });
  const page = await list(registry, '/v2/_catalog?n=1&last=a');
  assert.deepEqual(
    [page.document['repositories'], page.headers.link],
    [['a/b'], '</v2/_catalog?n=1&last=a%2Fb>; rel="next"'],
  );
  await registry.send('DELETE', `/v2/a/blobs/${digestOf('{}')}`);
  assert.deepEqual((await list(registry, '/v2/_catalog')).document, { repositories: ['a/b', 'b/x'] });
});

test('a tag is deleted alone, a manifest with all tags that mean it', async (t) => {
  const registry = await startLiveRegistry(t);
  await registry.pushBlob('shop/web', '{}');
  const digest = await registry.pushManifest('shop/web', 'v1', artifact(undefined));
  await registry.pushManifest('shop/web', 'v2', artifact(undefined));
  assert.equal((await registry.send('DELETE', '/v2/shop/web/manifests/v1')).status, 202);
  assert.equal((await registry.send('GET', '/v2/shop/web/manifests/v1')).status, 404);
  assert.equal((await registry.send('GET', '/v2/shop/web/manifests/v2')).status, 200);
  assert.equal((await registry.send('DELETE', `/v2/shop/web/manifests/${digest}`)).status, 202);
  for (const reference of ['v2', digest]) {
    assert.equal((await registry.send('GET', `/v2/shop/web/manifests/${reference}`)).status, 404, reference);
  }
  assert.equal((await registry.send('DELETE', `/v2/shop/web/manifests/${digest}`)).status, 404);
});

test('a registry that does not delete says 405', async (t) => {
  const registry = await startLiveRegistry(t, { rules: { allowDelete: false } });
  const digest = await registry.pushBlob('shop/web', '{}');
  for (const path of ['manifests/v1', `blobs/${digest}`]) {
    const { status, body } = await registry.send('DELETE', `/v2/shop/web/${path}`);
    assert.deepEqual([status, codeOf({ status, body, headers: {} })], [405, 'UNSUPPORTED'], path);
  }
});

test('referrers: what says something about a manifest, with type and annotations, filtered, also before it is there', async (t) => {
  const registry = await startLiveRegistry(t);
  await registry.pushBlob('shop/web', '{}');
  const image = artifact(undefined);
  const bytes = Buffer.from(JSON.stringify(image));
  const subject = { mediaType: ociManifest, digest: digestOf(bytes), size: bytes.length };
  const path = `/v2/shop/web/referrers/${subject.digest}`;
  assert.deepEqual((await list(registry, path)).document['manifests'], []);

  const sbom = artifact(subject, { artifactType: 'application/vnd.example.sbom', annotations: { by: 'test' } });
  const body = Buffer.from(JSON.stringify(sbom));
  const put = await registry.send('PUT', `/v2/shop/web/manifests/${digestOf(body)}`, {
    headers: { 'content-type': ociManifest },
    body,
  });
  assert.deepEqual([put.status, put.headers['oci-subject']], [201, subject.digest]);
  await registry.pushManifest('shop/web', 'v1', image);
  const plain = artifact(subject);
  await registry.pushManifest('shop/web', digestOf(JSON.stringify(plain)), plain);
  const index = { schemaVersion: 2, mediaType: ociIndex, manifests: [], subject };
  await registry.pushManifest('shop/web', digestOf(JSON.stringify(index)), index);

  const all = await list(registry, path);
  assert.equal(all.headers['content-type'], ociIndex);
  const found = new Map((all.document['manifests'] as { digest: Digest }[]).map((each) => [each.digest, each]));
  assert.deepEqual(
    found,
    new Map(
      [
        [sbom, { artifactType: sbom['artifactType' as never] as string, annotations: { by: 'test' } }] as const,
        [plain, { artifactType: EMPTY.mediaType }] as const,
        [index, {}] as const,
      ].map(([document, rest]) => {
        const text = JSON.stringify(document);
        const own = { mediaType: document.mediaType, digest: digestOf(text), size: text.length };
        return [own.digest, { ...own, ...rest }];
      }),
    ),
  );
  const filtered = await list(registry, `${path}?artifactType=application/vnd.example.sbom`);
  assert.deepEqual(
    [(filtered.document['manifests'] as unknown[]).length, filtered.headers['oci-filters-applied']],
    [1, 'artifactType'],
  );
  const bad = await registry.send('GET', '/v2/shop/web/referrers/sha256:abc');
  assert.deepEqual([bad.status, codeOf(bad)], [400, 'DIGEST_INVALID']);
});

test('referrers that do not fit one index come in pages', async (t) => {
  const registry = await startLiveRegistry(t);
  await registry.pushBlob('shop/web', '{}');
  const subject = { mediaType: ociManifest, digest: digestOf('subject'), size: 7 };
  const pushed = new Set<string>();
  for (const each of ['a', 'b', 'c']) {
    const document = artifact(subject, { annotations: { text: each.repeat(1_800_000) } });
    pushed.add(await registry.pushManifest('shop/web', each, document));
  }
  const seen = new Set<string>();
  let path: string | undefined = `/v2/shop/web/referrers/${subject.digest}`;
  let pages = 0;
  while (path !== undefined) {
    const { headers, document } = await list(registry, path);
    for (const { digest } of document['manifests'] as { digest: string }[]) seen.add(digest);
    path = /^<(.+)>; rel="next"$/.exec(headers.link?.toString() ?? '')?.[1];
    pages += 1;
  }
  assert.deepEqual([pages, seen], [2, pushed]);
});
