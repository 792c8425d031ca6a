import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createBlobServer } from '../../../../../controllers/node-agent/server/blobs.ts';
import { createFileSender } from '../../../../../lib/send-file.ts';
import { digestOf } from '../../../../../oci/digest.ts';
import { waitFor } from '../../../../support/wait.ts';

const SIZE_BYTES = 64 * 1024 * 1024;
const digest = digestOf('blob');

/** A server of one blob, and what it says that it has sent. */
async function start(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-blobs-'));
  const path = join(folder, 'blob');
  writeFileSync(path, '');
  truncateSync(path, SIZE_BYTES);
  const sent: number[] = [];
  const blobs = createBlobServer({
    findBlob: async () => ({ path, sizeBytes: SIZE_BYTES, mediaType: 'application/octet-stream' }),
    sender: createFileSender(),
    onSent: (bytes) => sent.push(bytes),
  });
  let served = 0;
  const server = createServer((request, response) => {
    const caller = { kind: 'node', name: 'n', uid: undefined } as const;
    void blobs.serve(caller, digest, request, response).finally(() => (served += 1));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });
  const { port } = server.address() as AddressInfo;
  const open = (headers = {}): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      get({ port, host: '127.0.0.1', agent: false, headers }, resolve).once('error', reject);
    });
  return { path, sent, open, isOver: (count: number) => waitFor(() => served === count, { what: 'the end of sends' }) };
}

test('serve() counts the bytes that went, and not those that were to go', async (t) => {
  const { path, sent, open, isOver } = await start(t);
  const part = await open({ range: 'bytes=100-1099' });
  part.resume();
  await isOver(1);
  assert.deepEqual(sent, [1000]);
  // Takes what comes first, and leaves.
  const left = await open();
  left.once('error', () => undefined);
  await new Promise((resolve) => left.once('data', resolve));
  left.destroy();
  await isOver(2);
  assert.ok((sent[1] ?? SIZE_BYTES) < SIZE_BYTES, String(sent));
  // The image is gone by the time that it is opened.
  rmSync(path);
  await assert.rejects(open(), /hang up|ECONNRESET/);
  await isOver(3);
  assert.equal(sent.length, 2);
});
