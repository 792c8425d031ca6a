// Images from other nodes: who is asked, who is let, and what a peer costs that fails, lies or is slow. Real agents'
// listeners with certificates, real image services.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Node } from '../../../crds/builtin.ts';
import { identifyAgent } from '../../../crds/agent-address.ts';
import { createAuthority } from '../../../lib/pki.ts';
import { makeImage, writeOciLayout, type TestImage } from '../../support/images.ts';
import { createTestPeers, type PeerNode, type PeerNodes } from '../../support/peer-nodes.ts';
import { startBadRegistry } from '../../support/registry.ts';
import { requireRoot } from '../../support/require.ts';

/** Two layers that do not get smaller by compression. */
const makeTestImage = (): TestImage =>
  makeImage({
    layers: [[{ name: 'one', content: randomBytes(3_000_000) }], [{ name: 'two', content: randomBytes(1_000_000) }]],
  });

async function importInto({ images }: PeerNode, image: TestImage, name: string): Promise<void> {
  const folder = join(images.home, `layout-${name.replaceAll(/[^a-z0-9]/g, '-')}`);
  mkdirSync(folder);
  writeOciLayout(folder, image);
  await images.service.import(folder, { references: [name], signal: AbortSignal.timeout(60_000) });
}

const sizeOf = (image: TestImage): number => [...image.blobs.values()].reduce((sum, { length }) => sum + length, 0);

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

function ask(
  { authority }: PeerNodes,
  node: PeerNode,
  path: string,
  pair: { cert: string; key: string },
  options: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        ...{ host: '127.0.0.1', port: node.port, path, agent: false, ca: authority.cert },
        ...pair,
        ...identifyAgent(node.name),
        ...options,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
        );
      },
    );
    sent.once('error', reject);
    sent.end();
  });
}

test('an imported image is pulled from the node that has it, all of it', async (t) => {
  if (!requireRoot(t)) return;
  const peers = await createTestPeers(t);
  const [a, b] = [await peers.add('a'), await peers.add('b')];
  const image = makeTestImage();
  await importInto(a, image, 'windlass.local/shop/web:1');
  const { id } = await b.pull('windlass.local/shop/web:1', { digest: image.manifest.digest, only: true });
  assert.equal(id, image.config.digest);
  const record = b.images.service.find('windlass.local/shop/web:1');
  assert.deepEqual([record?.manifestDigest, record?.repoDigests], [image.manifest.digest, []]);
  assert.deepEqual(b.received, { peer: sizeOf(image), mirror: 0, registry: 0 });
  // And from there to a third, when the first is gone.
  await a.kill();
  peers.objects.delete('a');
  const c = await peers.add('c');
  await c.pull('windlass.local/shop/web:1', { digest: image.manifest.digest, only: true, first: ['a'] });
  assert.equal(b.sentBytes, sizeOf(image));
});

test('GET /blobs lets nodes of the cluster read what belongs to an image here, and nothing else', async (t) => {
  if (!requireRoot(t)) return;
  const peers = await createTestPeers(t);
  const [a, b] = [await peers.add('a'), await peers.add('b')];
  const image = makeTestImage();
  await importInto(a, image, 'windlass.local/shop/web:1');
  const [layer] = image.layers;
  const bytes = image.blobs.get(layer?.digest as never) as Buffer;
  const path = `/blobs/${layer?.digest}`;
  const whole = await ask(peers, a, path, b.client);
  assert.deepEqual(
    [whole.status, whole.body.equals(bytes), whole.headers['content-type']],
    [200, true, layer?.mediaType],
  );
  const part = await ask(peers, a, path, b.client, { headers: { range: 'bytes=100-199' } });
  assert.deepEqual(
    [part.status, part.headers['content-range'], part.body.equals(bytes.subarray(100, 200))],
    [206, `bytes 100-199/${bytes.length}`, true],
  );
  const head = await ask(peers, a, path, b.client, { method: 'HEAD' });
  assert.deepEqual([head.status, head.headers['content-length'], head.body.length], [200, String(bytes.length), 0]);
  const statuses = async (
    list: readonly [string, { cert: string; key: string }, { method?: string; headers?: Record<string, string> }?][],
  ) => Promise.all(list.map(async ([target, pair, options]) => (await ask(peers, a, target, pair, options)).status));
  // What lies in the store and is of no image: as an upload, or a build on its way.
  const stray = `sha256:${'ab'.repeat(32)}`;
  writeFileSync(join(a.images.home, 'content/blobs', stray.replace(':', '/')), 'private');
  const group = { organizations: ['system:nodes'] };
  assert.deepEqual(
    await statuses([
      [path, b.client, { headers: { range: `bytes=${bytes.length}-` } }],
      [path, b.client, { method: 'PUT' }],
      [`/blobs/${stray}`, b.client],
      ['/blobs/sha256:..%2f..%2findex.json', b.client],
      ['/blobs/sha256:abc', b.client],
      // A node reads blobs and nothing else; the API server reads everything.
      ['/usage', b.client],
      ['/containerLogs/shop/web/web', b.client],
      [path, await peers.issue({ commonName: 'windlass:apiserver' })],
      // Of the cluster's authority, but no node of it.
      [path, await peers.issue({ commonName: 'admin', organizations: ['system:masters'] })],
      [path, await peers.issue({ commonName: 'system:node:b' })],
      [path, await peers.issue({ commonName: 'system:node:gone', ...group })],
      [path, await peers.issue({ commonName: 'system:node:b', ...group, userId: 'the-uid-before' })],
    ]),
    [416, 405, 404, 400, 400, 403, 403, 200, 403, 403, 403, 403],
  );
  // Without a UID it is the machine of a server, unless another one has joined as that node.
  const bare = await peers.issue({ commonName: 'system:node:server', ...group });
  const server = peers.objects.get('b') as Node;
  peers.objects.set('server', { ...server, metadata: { name: 'server', uid: 'uid-server' } });
  assert.equal((await ask(peers, a, path, bare)).status, 200);
  const stranger = await createAuthority('other', 1, Date.now());
  await assert.rejects(ask(peers, a, path, stranger), /ECONNRESET|alert|socket hang up/);
});

test('a layer is asked from peers before the registry, whatever they do to it', async (t) => {
  if (!requireRoot(t)) return;
  const peers = await createTestPeers(t);
  const image = makeTestImage();
  await using registry = await startBadRegistry(image);
  const reference = `${registry.host}/shop/web:1`;
  const a = await peers.add('a');
  await a.pull(reference);
  assert.deepEqual([a.received.peer, a.received.registry], [0, sizeOf(image) - image.manifest.size]);
  // One sends other bytes, one sends half and goes, one says it has it and does not.
  const bytesOf = (url = ''): Buffer => image.blobs.get(url.split('/')[2] as never) ?? Buffer.alloc(0);
  await peers.addStranger('liar', ({ method, url }, response) => {
    const bytes = bytesOf(url);
    response.setHeader('content-length', bytes.length);
    response.end(method === 'HEAD' ? undefined : Buffer.alloc(bytes.length, 7));
  });
  await peers.addStranger('halfway', ({ method, url }, response) => {
    const bytes = bytesOf(url);
    response.setHeader('content-length', bytes.length);
    if (method === 'HEAD') response.end();
    else response.write(bytes.subarray(0, bytes.length / 2), () => response.destroy());
  });
  await peers.addStranger('forgetful', ({ method }, response) => {
    response.writeHead(method === 'HEAD' ? 200 : 404).end();
  });
  for (const first of [['liar'], ['halfway'], ['forgetful'], ['liar', 'halfway', 'forgetful']]) {
    const node = await peers.add(`b-${first.join('-')}`);
    const { id } = await node.pull(reference, { first });
    assert.equal(id, image.config.digest, first.join());
    await node.kill();
    peers.objects.delete(node.name);
  }
});

test('with the registry gone, what a reference meant is had from peers', async (t) => {
  if (!requireRoot(t)) return;
  const peers = await createTestPeers(t);
  const [a, b] = [await peers.add('a'), await peers.add('b')];
  const image = makeTestImage();
  const registry = await startBadRegistry(image);
  const reference = `${registry.host}/shop/web:1`;
  await a.pull(reference);
  await registry[Symbol.asyncDispose]();
  await assert.rejects(b.pull(reference), /cannot be reached/);
  const { id } = await b.pull(reference, { digest: image.manifest.digest, first: ['a'] });
  const record = b.images.service.find(reference);
  assert.deepEqual([id, record?.id], [image.config.digest, image.config.digest]);
  assert.deepEqual(b.received, { peer: sizeOf(image), mirror: 0, registry: 0 });
});
