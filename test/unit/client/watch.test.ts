import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createApiClient } from '../../../client/api-client.ts';
import { splitLines } from '../../../client/watch.ts';
import { volumeKind } from '../../../crds/index.ts';
import { reply, startFakeApiServer } from './fake-api-server.ts';

async function* chunks(...parts: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  for (const part of parts) yield typeof part === 'string' ? Buffer.from(part) : part;
}

async function linesOf(...parts: (string | Uint8Array)[]): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of splitLines(chunks(...parts))) lines.push(line);
  return lines;
}

test('splitLines() joins what was cut, also inside a character, and drops an unfinished rest', async () => {
  const bytes = Buffer.from('ä\n');
  assert.deepEqual(await linesOf('a', 'b\nc\n\n', bytes.subarray(0, 1), bytes.subarray(1), 'rest'), ['ab', 'c', 'ä']);
  assert.deepEqual(await linesOf(''), []);
});

test('splitLines() gives up on a line that is larger than any object', async () => {
  const megabyte = new Uint8Array(1024 * 1024).fill(0x61);
  await assert.rejects(linesOf(...Array.from({ length: 20 }, () => megabyte)), { reason: 'Unavailable' });
});

test('a GET whose kept-alive connection was closed by the server is asked again, a write is not', async () => {
  let asked = 0;
  await using server = await startFakeApiServer((_, response) => {
    asked += 1;
    if (asked === 1) response.destroy();
    else reply(response, 200, { metadata: { name: 'a' } });
  });
  const api = createApiClient(server.connection);
  try {
    assert.equal((await api.kind(volumeKind).get('a', 'default'))?.metadata.name, 'a');
    assert.equal(asked, 2);
    asked = 0;
    await assert.rejects(
      api
        .kind(volumeKind)
        .create({ metadata: { name: 'a', namespace: 'default' }, spec: { driver: 'local', reclaimPolicy: 'Delete' } }),
      { reason: 'Unavailable' },
    );
    assert.equal(asked, 1);
  } finally {
    await api.close();
  }
});
