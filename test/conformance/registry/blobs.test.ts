// OCI distribution 1.1, blobs: end-2, end-4 to end-6, end-10, end-11, end-13 and end-14.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { digestOf } from '../../../oci/digest.ts';
import { codeOf, startLiveRegistry, type LiveRegistry } from '../../support/live-registry.ts';

const BYTES = randomBytes(2_048);
const DIGEST = digestOf(BYTES);

async function startUpload({ send }: LiveRegistry, repository = 'shop/web'): Promise<string> {
  const { status, headers } = await send('POST', `/v2/${repository}/blobs/uploads/`);
  assert.equal(status, 202);
  return String(headers.location);
}

async function assertBlob({ send }: LiveRegistry, repository: string, bytes: Buffer, digest = digestOf(bytes)) {
  const head = await send('HEAD', `/v2/${repository}/blobs/${digest}`);
  assert.deepEqual(
    [head.status, head.headers['content-length'], head.headers['docker-content-digest'], head.body.length],
    [200, String(bytes.length), digest, 0],
  );
  const get = await send('GET', `/v2/${repository}/blobs/${digest}`);
  assert.deepEqual([get.status, get.body], [200, bytes]);
}

test('a blob that is not there is BLOB_UNKNOWN, and has no body for HEAD', async (t) => {
  const registry = await startLiveRegistry(t);
  const get = await registry.send('GET', `/v2/shop/web/blobs/${DIGEST}`);
  assert.deepEqual([get.status, codeOf(get)], [404, 'BLOB_UNKNOWN']);
  const head = await registry.send('HEAD', `/v2/shop/web/blobs/${DIGEST}`);
  assert.deepEqual([head.status, head.body.length], [404, 0]);
});

test('a blob is pushed by one POST, by POST and PUT, and as an empty one', async (t) => {
  const registry = await startLiveRegistry(t);
  await registry.pushBlob('shop/web', BYTES);
  await assertBlob(registry, 'shop/web', BYTES);
  const other = randomBytes(3_000);
  const location = await startUpload(registry);
  const put = await registry.send('PUT', `${location}?digest=${digestOf(other)}`, { body: other });
  assert.deepEqual([put.status, put.headers.location], [201, `/v2/shop/web/blobs/${digestOf(other)}`]);
  await assertBlob(registry, 'shop/web', other);
  await registry.pushBlob('shop/web', '');
  await assertBlob(registry, 'shop/web', Buffer.alloc(0));
  assert.equal(registry.uploads.usage().count, 0);
});

test('a blob with a SHA-512 digest is kept under it', async (t) => {
  const registry = await startLiveRegistry(t);
  const digest = digestOf(BYTES, 'sha512');
  const { headers } = await registry.send('POST', '/v2/shop/web/blobs/uploads/?digest-algorithm=sha512');
  const put = await registry.send('PUT', `${headers.location}?digest=${digest}`, { body: BYTES });
  assert.equal(put.status, 201);
  await assertBlob(registry, 'shop/web', BYTES, digest);
  const unknown = await registry.send('POST', '/v2/shop/web/blobs/uploads/?digest-algorithm=md5');
  assert.deepEqual([unknown.status, codeOf(unknown)], [400, 'DIGEST_INVALID']);
});

test('chunks are taken in order; one out of order is 416 and changes nothing', async (t) => {
  const registry = await startLiveRegistry(t);
  const location = await startUpload(registry);
  const chunk = (start: number, end: number) => ({
    headers: { 'content-range': `${start}-${end - 1}`, 'content-type': 'application/octet-stream' },
    body: BYTES.subarray(start, end),
  });
  const first = await registry.send('PATCH', location, chunk(0, 1_000));
  assert.deepEqual([first.status, first.headers.range], [202, '0-999']);
  for (const [method, path, start, end] of [
    ['PATCH', location, 1_500, 2_000],
    ['PATCH', location, 0, 1_000],
    ['PUT', `${location}?digest=${DIGEST}`, 1_500, 2_048],
  ] as const) {
    const wrong = await registry.send(method, path, chunk(start, end));
    assert.deepEqual([wrong.status, codeOf(wrong)], [416, 'BLOB_UPLOAD_INVALID'], `${method} ${start}`);
  }
  const status = await registry.send('GET', location);
  assert.deepEqual([status.status, status.headers.range, status.headers.location], [204, '0-999', location]);
  assert.equal((await registry.send('PATCH', location, chunk(1_000, 1_500))).headers.range, '0-1499');
  const last = await registry.send('PUT', `${location}?digest=${DIGEST}`, chunk(1_500, 2_048));
  assert.equal(last.status, 201);
  await assertBlob(registry, 'shop/web', BYTES);
});

test('a stream without a length is one chunk, and PUT needs no more bytes', async (t) => {
  const registry = await startLiveRegistry(t);
  const location = await startUpload(registry);
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let at = 0; at < BYTES.length; at += 500) yield BYTES.subarray(at, at + 500);
  }
  const { status, headers } = await registry.send('PATCH', location, { body: pieces() });
  assert.deepEqual([status, headers.range], [202, '0-2047']);
  assert.equal((await registry.send('PUT', `${location}?digest=${DIGEST}`)).status, 201);
  await assertBlob(registry, 'shop/web', BYTES);
});

test('bytes of another digest are refused, and the upload is over', async (t) => {
  const registry = await startLiveRegistry(t);
  const location = await startUpload(registry);
  const put = await registry.send('PUT', `${location}?digest=${DIGEST}`, { body: 'something else' });
  assert.deepEqual([put.status, codeOf(put)], [400, 'DIGEST_INVALID']);
  assert.equal((await registry.send('GET', location)).status, 404);
  assert.equal((await registry.send('HEAD', `/v2/shop/web/blobs/${DIGEST}`)).status, 404);
  for (const digest of ['', 'sha256:abc', `md5:${'0'.repeat(32)}`, `sha256:${'A'.repeat(64)}`]) {
    const bad = await registry.send('PUT', `${await startUpload(registry)}?digest=${digest}`, { body: BYTES });
    assert.deepEqual([bad.status, codeOf(bad)], [400, 'DIGEST_INVALID'], digest);
  }
});

test('an upload is of its repository, may be given up, and is unknown afterwards', async (t) => {
  const registry = await startLiveRegistry(t);
  const location = await startUpload(registry);
  const elsewhere = location.replace('shop/web', 'other/web');
  assert.equal(codeOf(await registry.send('GET', elsewhere)), 'BLOB_UPLOAD_UNKNOWN');
  assert.equal((await registry.send('DELETE', location)).status, 204);
  const gone = await registry.send('PATCH', location, { body: BYTES });
  assert.deepEqual([gone.status, codeOf(gone)], [404, 'BLOB_UPLOAD_UNKNOWN']);
});

test('a mount shares the bytes of the repository that is named, or starts an upload', async (t) => {
  const registry = await startLiveRegistry(t);
  await registry.pushBlob('shop/web', BYTES);
  const mount = (query: string) => registry.send('POST', `/v2/other/app/blobs/uploads/?mount=${DIGEST}${query}`);
  const wrong = await mount('&from=no/such');
  assert.deepEqual([wrong.status, /uploads\//.test(String(wrong.headers.location))], [202, true]);
  const right = await mount('&from=shop/web');
  assert.deepEqual([right.status, right.headers.location], [201, `/v2/other/app/blobs/${DIGEST}`]);
  await assertBlob(registry, 'other/app', BYTES);
  // Without a source, any repository does.
  const anonymous = await registry.send('POST', `/v2/third/app/blobs/uploads/?mount=${DIGEST}`);
  assert.equal(anonymous.status, 201);
});

test('a blob that is deleted in one repository stays in another', async (t) => {
  const registry = await startLiveRegistry(t);
  await registry.pushBlob('shop/web', BYTES);
  await registry.pushBlob('other/app', BYTES);
  assert.equal((await registry.send('DELETE', `/v2/shop/web/blobs/${DIGEST}`)).status, 202);
  assert.equal((await registry.send('GET', `/v2/shop/web/blobs/${DIGEST}`)).status, 404);
  assert.equal((await registry.send('DELETE', `/v2/shop/web/blobs/${DIGEST}`)).status, 404);
  await assertBlob(registry, 'other/app', BYTES);
});

test('ranges of a blob', async (t) => {
  const registry = await startLiveRegistry(t);
  await registry.pushBlob('shop/web', BYTES);
  const get = (range: string) => registry.send('GET', `/v2/shop/web/blobs/${DIGEST}`, { headers: { range } });
  for (const [range, contentRange, bytes] of [
    ['bytes=500-1499', 'bytes 500-1499/2048', BYTES.subarray(500, 1_500)],
    ['bytes=500-', 'bytes 500-2047/2048', BYTES.subarray(500)],
    ['bytes=-500', 'bytes 1548-2047/2048', BYTES.subarray(1_548)],
    ['bytes=2000-5000', 'bytes 2000-2047/2048', BYTES.subarray(2_000)],
  ] as const) {
    const { status, headers, body } = await get(range);
    assert.deepEqual(
      [status, headers['content-range'], headers['content-length'], body],
      [206, contentRange, String(bytes.length), bytes],
      range,
    );
  }
  for (const range of ['bytes=500-0', 'bytes=5000-10000', 'bytes=-0']) {
    const { status, headers } = await get(range);
    assert.deepEqual([status, headers['content-range']], [416, 'bytes */2048'], range);
  }
  // What a server may ignore: several ranges, other units, nonsense.
  for (const range of ['bytes=0-1,5-6', 'lines=1-2', 'bytes=x-y']) assert.equal((await get(range)).status, 200, range);
});
