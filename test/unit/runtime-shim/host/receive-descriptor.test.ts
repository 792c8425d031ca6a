import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { listenForDescriptor, parseDescriptors } from '../../../../runtime-shim/host/receive-descriptor.ts';

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-receive-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('listenForDescriptor() listens for its owner alone and leaves no socket when nobody came', (t) => {
  const folder = makeFolder(t);
  const received: (number | undefined)[] = [];
  const listener = listenForDescriptor(folder, 'socket', (fd) => received.push(fd));
  assert.equal(statSync(join(folder, 'socket')).mode & 0o777, 0o600);
  listener.close();
  listener.close();
  assert.deepEqual([received, readdirSync(folder)], [[undefined], []]);
});

for (const [what, text] of [
  ['leaves', undefined],
  ['sends bytes alone', 'text'],
] as const) {
  test(`listenForDescriptor() does not wait on when the one who came ${what}`, async (t) => {
    const folder = makeFolder(t);
    const { promise: received, resolve } = Promise.withResolvers<number | undefined>();
    listenForDescriptor(folder, 'socket', resolve);
    const client = connect(join(folder, 'socket')).on('error', () => undefined);
    if (text === undefined) client.end();
    else client.end(text);
    assert.equal(await received, undefined);
    assert.deepEqual(readdirSync(folder), []);
    client.destroy();
  });
}

test('parseDescriptors() reads what is there and nothing else', () => {
  const control = (length: number, level: number, type: number, ...fds: number[]): Buffer => {
    const bytes = Buffer.alloc(48);
    bytes.writeBigUInt64LE(BigInt(length), 0);
    bytes.writeInt32LE(level, 8);
    bytes.writeInt32LE(type, 12);
    fds.forEach((fd, index) => bytes.writeInt32LE(fd, 16 + 4 * index));
    return bytes;
  };
  assert.deepEqual(parseDescriptors(control(20, 1, 1, 7)), [7]);
  assert.deepEqual(parseDescriptors(control(24, 1, 1, 7, 8)), [7, 8]);
  // Credentials (SCM_CREDENTIALS), an empty buffer, and a length that goes beyond it.
  assert.deepEqual(parseDescriptors(control(28, 1, 2, 1, 0, 0)), []);
  assert.deepEqual(parseDescriptors(Buffer.alloc(48)), []);
  assert.equal(parseDescriptors(control(4000, 1, 1, 7)).length, 8);
});
