import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { request } from 'undici';
import { digestOf, type Digest } from '../../../oci/digest.ts';
import type { PushProgress } from '../../../runtime-shim/images/image-service.ts';
import { openTestImages, type TestImages } from '../../support/image-service.ts';
import { makeImage, writeOciLayout, type TestImage } from '../../support/images.ts';
import { startBadRegistry, startTestRegistry } from '../../support/registry.ts';
import { requireRoot } from '../../support/require.ts';

const signal = AbortSignal.timeout(60_000);

async function imported(images: TestImages, image: TestImage, name: string): Promise<void> {
  const folder = join(images.home, `layout-${createHash('sha256').update(name).digest('hex').slice(0, 8)}`);
  writeOciLayout(folder, image);
  await images.service.import(folder, { references: [name], signal });
}

/** Pushes, and gives the last state of each blob. */
async function push(images: TestImages, image: string, reference: string): Promise<string[]> {
  let last: PushProgress | undefined;
  await images.service.push(image, reference, undefined, { signal, onProgress: (progress) => (last = progress) });
  assert.equal(last?.phase, 'Done');
  assert.equal(last.completedBytes, last.totalBytes);
  return last.layers.map(({ state }) => state);
}

test('push() brings an image to a registry byte for byte, sends nothing twice, and mounts what another repository has', async (t) => {
  if (!requireRoot(t)) return;
  await using registry = await startTestRegistry();
  await using images = await openTestImages();
  const image = makeImage({ layers: [[{ name: 'a', content: 'a' }], [{ name: 'b', content: 'b' }]], isDocker: true });
  await imported(images, image, 'windlass.local/pushed:1');
  const target = `${registry.host}/team/pushed:1`;
  const digest = await images.service.push('windlass.local/pushed:1', target, undefined, { signal });
  assert.equal(digest, image.manifest.digest);
  const response = await request(`http://${registry.host}/v2/team/pushed/manifests/1`, {
    headers: { accept: image.manifest.mediaType },
  });
  assert.deepEqual(Buffer.from(await response.body.arrayBuffer()), image.blobs.get(image.manifest.digest));
  assert.equal(response.headers['docker-content-digest'], digest);
  const inspected = execFileSync('skopeo', ['inspect', '--tls-verify=false', `docker://${target}`], {
    encoding: 'utf8',
  });
  assert.deepEqual(
    (JSON.parse(inspected) as { Layers: string[] }).Layers,
    image.layers.map((layer) => layer.digest),
  );

  assert.deepEqual(await push(images, 'windlass.local/pushed:1', target), ['Exists', 'Exists', 'Exists']);
  // Once it has a name of that registry, its blobs can come from there.
  await images.service.tag('windlass.local/pushed:1', target);
  assert.deepEqual(await push(images, target, `${registry.host}/other/copy:1`), ['Mounted', 'Mounted', 'Mounted']);
  await images.service.push(target, target, undefined, { signal });
  assert.deepEqual(images.service.find(target)?.repoDigests, [`${registry.host}/team/pushed@${digest}`]);
});

test('push() compresses plain layers once, to the same manifest each time, and sends them only where they are not', async (t) => {
  if (!requireRoot(t)) return;
  await using registry = await startTestRegistry();
  await using images = await openTestImages();
  const layers = ['a', 'b'].map((name) => [{ name, content: name.repeat(200_000) }]);
  const image = makeImage({ layers, compression: 'none' });
  await imported(images, image, 'windlass.local/built:1');
  const target = `${registry.host}/team/built:1`;
  const digest = await images.service.push('windlass.local/built:1', target, undefined, { signal });
  const accept = image.manifest.mediaType;
  const response = await request(`http://${registry.host}/v2/team/built/manifests/1`, { headers: { accept } });
  const bytes = Buffer.from(await response.body.arrayBuffer());
  assert.equal(digest, digestOf(bytes));
  const pushed = JSON.parse(bytes.toString()) as { config: object; layers: { digest: Digest; mediaType: string }[] };
  assert.deepEqual(pushed.config, image.config);
  const store = join(images.home, 'content/blobs');
  for (const [index, layer] of pushed.layers.entries()) {
    assert.equal(layer.mediaType, 'application/vnd.oci.image.layer.v1.tar+gzip');
    const blob = await request(`http://${registry.host}/v2/team/built/blobs/${layer.digest}`);
    assert.ok(gunzipSync(Buffer.from(await blob.body.arrayBuffer())).equals(image.tars[index] as Buffer));
    // The bytes are swept one day: what they were is known.
    rmSync(join(store, layer.digest.replace(':', '/')));
  }
  assert.deepEqual(await push(images, 'windlass.local/built:1', target), ['Exists', 'Exists', 'Exists']);
  assert.ok(pushed.layers.every((layer) => !existsSync(join(store, layer.digest.replace(':', '/')))));
  // After a restart, to another registry: compressed anew, to the same.
  await using other = await startTestRegistry();
  const again = await images.restart();
  const elsewhere = await again.push('windlass.local/built:1', `${other.host}/x:1`, undefined, { signal });
  assert.equal(elsewhere, digest);
  // What a registry gave its digest is pushed as it is.
  await registry.push(image, 'team/plain', '1');
  await again.pull(`${registry.host}/team/plain:1`, undefined, { signal });
  const copy = await again.push(`${registry.host}/team/plain:1`, `${other.host}/plain:1`, undefined, { signal });
  assert.equal(copy, image.manifest.digest);
});

test('push() refuses what it cannot do: an absent image, a digest of another one, a registry that is down', async (t) => {
  if (!requireRoot(t)) return;
  await using registry = await startTestRegistry();
  await using images = await openTestImages();
  await imported(images, makeImage(), 'windlass.local/pushed:1');
  const pushAs = (image: string, reference: string): Promise<string> =>
    images.service.push(image, reference, undefined, { signal });
  await assert.rejects(pushAs('absent', `${registry.host}/a:1`), { reason: 'NotFound' });
  const other = `sha256:${'0'.repeat(64)}`;
  await assert.rejects(pushAs('windlass.local/pushed:1', `${registry.host}/a@${other}`), { reason: 'Invalid' });
  await assert.rejects(pushAs('windlass.local/pushed:1', '127.0.0.1:1/a:1'), {
    reason: 'Unavailable',
    message: /registry 127\.0\.0\.1:1 cannot be reached/,
  });
});

test('push() of a large layer goes in chunks and goes on after a broken connection', async (t) => {
  if (!requireRoot(t)) return;
  const image = makeImage({
    layers: [[{ name: 'noise', content: randomBytes(36 * 1024 * 1024) }]],
  });
  const uploads = new Map<string, Buffer[]>();
  const stored = new Map<string, Buffer>();
  const patches: string[] = [];
  const breakAt = 20 * 1024 * 1024;
  let isBroken = false;
  const size = (id: string): number => (uploads.get(id) ?? []).reduce((sum, { length }) => sum + length, 0);
  await using registry = await startBadRegistry(image, (incoming, response) => {
    const { method = '', url = '' } = incoming;
    if (method === 'PUT' && url.includes('/manifests/')) return answer(incoming, response, 201);
    const upload = /\/blobs\/uploads\/(\d*)/.exec(url);
    if (!upload && method === 'HEAD') return answer(incoming, response, 404);
    if (!upload) return false;
    const id = upload[1] || String(uploads.size + 1);
    const parts = uploads.get(id) ?? [];
    uploads.set(id, parts);
    const location = `/v2/x/blobs/uploads/${id}`;
    if (method === 'GET') return answer(incoming, response, 204, { location, range: `0-${size(id) - 1}` });
    if (method === 'PATCH') patches.push(incoming.headers['content-range'] ?? '');
    incoming.on('data', (chunk: Buffer) => {
      if (!isBroken && method === 'PATCH' && size(id) + chunk.length > breakAt) {
        isBroken = true;
        incoming.destroy();
        return;
      }
      if (!incoming.destroyed) parts.push(chunk);
    });
    incoming.on('end', () => {
      const digest = new URL(url, 'http://x').searchParams.get('digest');
      if (digest) stored.set(digest, Buffer.concat(parts));
      response.writeHead(method === 'PUT' ? 201 : 202, { location, range: `0-${Math.max(size(id) - 1, 0)}` }).end();
    });
    return true;
  });
  await using images = await openTestImages();
  await imported(images, image, 'windlass.local/large:1');
  await push(images, 'windlass.local/large:1', `${registry.host}/x:1`);
  for (const { digest } of [...image.layers, image.config]) {
    assert.ok(stored.get(digest)?.equals(image.blobs.get(digest) as Buffer), `${digest} arrived whole`);
  }
  const starts = patches.map((range) => Number(range.split('-')[0]));
  assert.equal(isBroken, true);
  assert.equal(starts.filter((start) => start === 0).length, 1, `nothing was sent twice: ${patches.join(' ')}`);
  assert.ok(starts.includes(16 * 1024 * 1024) && starts.length >= 4, patches.join(' '));
});

test('credential leaks: an upload at another host gets no credentials, and one without TLS is refused', async (t) => {
  if (!requireRoot(t)) return;
  const image = makeImage();
  await using storage = await startBadRegistry(image, (incoming, response) => answer(incoming, response, 201));
  await using registry = await startBadRegistry(image, (incoming, response) => {
    if (incoming.headers.authorization === undefined) {
      return answer(incoming, response, 401, { 'www-authenticate': 'Basic realm="x"' });
    }
    if (incoming.method === 'HEAD') return answer(incoming, response, 404);
    const repository = incoming.url?.split('/')[2];
    const host = repository === 'elsewhere' ? storage.host : 'registry.example.org';
    return answer(incoming, response, 202, { location: `http://${host}/upload?state=1` });
  });
  await using images = await openTestImages();
  await imported(images, image, 'windlass.local/pushed:1');
  const auth = { username: 'user', password: 'secret' };
  const pushTo = (repository: string): Promise<string> =>
    images.service.push('windlass.local/pushed:1', `${registry.host}/${repository}:1`, auth, { signal });
  await pushTo('elsewhere');
  const puts = storage.requests.filter(({ method }) => method === 'PUT');
  assert.equal(puts.length, 2);
  assert.deepEqual(
    storage.requests.filter(({ authorization }) => authorization !== undefined),
    [],
  );
  await assert.rejects(pushTo('downgrade'), { reason: 'Forbidden', message: /without TLS \(registry\.example\.org\)/ });
});

test('auth confusion: a push asks for a token of its own, which names only the repositories it needs', async (t) => {
  if (!requireRoot(t)) return;
  const image = makeImage();
  const scopes: string[][] = [];
  await using registry = await startBadRegistry(image, (incoming, response, host) => {
    const url = new URL(incoming.url ?? '', 'http://x');
    if (url.pathname === '/token') {
      scopes.push(url.searchParams.getAll('scope'));
      return answer(incoming, response, 200, {}, JSON.stringify({ token: scopes.at(-1)?.join('+') }));
    }
    const token = incoming.headers.authorization ?? '';
    const isWrite = incoming.method !== 'GET' && incoming.method !== 'HEAD';
    if (!token.includes(isWrite ? 'pull,push' : 'pull')) {
      const challenge = `Bearer realm="http://${host}/token",service="s",scope="repository:*:*"`;
      return answer(incoming, response, 401, { 'www-authenticate': challenge });
    }
    if (incoming.method === 'GET') return false;
    if (incoming.method === 'HEAD') return answer(incoming, response, 404);
    const location = '/v2/b/blobs/uploads/1';
    return answer(incoming, response, incoming.method === 'POST' ? 202 : 201, { location });
  });
  await using images = await openTestImages();
  await images.service.pull(`${registry.host}/a:1`, undefined, { signal });
  await images.service.push(`${registry.host}/a:1`, `${registry.host}/b:1`, undefined, { signal });
  assert.deepEqual([...new Set(scopes.map((scope) => scope.join(' ')))].toSorted(), [
    'repository:a:pull',
    'repository:b:pull,push',
    'repository:b:pull,push repository:a:pull',
  ]);
});

test('GC race: an image that is removed while it is pushed arrives whole', async (t) => {
  if (!requireRoot(t)) return;
  await using registry = await startTestRegistry();
  await using images = await openTestImages();
  const layers = Array.from({ length: 8 }, () => [{ name: 'noise', content: randomBytes(256 * 1024) }]);
  const image = makeImage({ layers });
  await imported(images, image, 'windlass.local/pushed:1');
  const target = `${registry.host}/pushed:1`;
  let removal: Promise<void> | undefined;
  await images.service.push('windlass.local/pushed:1', target, undefined, {
    signal,
    onProgress() {
      removal ??= images.service.remove('windlass.local/pushed:1');
    },
  });
  await removal;
  assert.equal(images.service.list().length, 0);
  const pulled = await images.service.pull(target, undefined, { signal });
  assert.equal(pulled.id, image.config.digest);
});

function answer(
  incoming: IncomingMessage,
  response: ServerResponse,
  status: number,
  headers: Record<string, string> = {},
  body = '',
): true {
  incoming.resume();
  incoming.once('end', () => response.writeHead(status, headers).end(body));
  return true;
}
