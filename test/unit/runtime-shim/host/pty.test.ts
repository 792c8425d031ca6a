import assert from 'node:assert/strict';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { errnoOf } from '../../../../lib/errors.ts';
import { isPtyMaster, openPty, openPtyMaster, type PtyMaster } from '../../../../runtime-shim/host/pty.ts';

/** Reads to the end; `onData` says whether to go on at once. */
function collect(masterFd: number, onData: (chunk: Buffer) => boolean = () => true) {
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const chunks: Buffer[] = [];
  const master: PtyMaster = openPtyMaster(masterFd, {
    onData(chunk) {
      chunks.push(chunk);
      return onData(chunk);
    },
    onEnd: resolve,
  });
  return { master, ended, text: () => Buffer.concat(chunks).toString() };
}

test('openPtyMaster() reads all that a terminal held when its far end was closed', async () => {
  const { masterFd, slaveFd } = openPty();
  const written = fill(slaveFd);
  closeSync(slaveFd);
  const { ended, text } = collect(masterFd);
  await ended;
  assert.deepEqual([text().length, written > 8192], [written, true]);
});

/** Writes until the terminal takes no more; returns how many bytes that were. */
function fill(slaveFd: number): number {
  const fd = openSync(`/proc/self/fd/${slaveFd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  let written = 0;
  try {
    for (;;) written += writeSync(fd, Buffer.alloc(1000, 'x'));
  } catch (error) {
    if (errnoOf(error) !== 'EAGAIN') throw error;
    return written;
  } finally {
    closeSync(fd);
  }
}

test('openPtyMaster() stops reading when told so and goes on after resume()', async () => {
  const { masterFd, slaveFd } = openPty();
  const first = Promise.withResolvers<void>();
  const { master, ended, text } = collect(masterFd, (chunk) => {
    first.resolve();
    return !chunk.includes('one');
  });
  writeSync(slaveFd, 'one\n');
  await first.promise;
  writeSync(slaveFd, 'two\n');
  closeSync(slaveFd);
  // One that went on reading would have had turns enough.
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(text(), 'one\r\n');
  master.resume();
  await ended;
  assert.equal(text(), 'one\r\ntwo\r\n');
});

test('openPtyMaster() does not wait for a far end that reads nothing', async () => {
  const { masterFd, slaveFd } = openPty();
  const { master, ended } = collect(masterFd);
  const { promise: done, resolve } = Promise.withResolvers<void>();
  master.write(Buffer.alloc(100_000, 'x'), resolve);
  master.destroy();
  await Promise.all([done, ended]);
  closeSync(slaveFd);
});

test('isPtyMaster() knows the near end of a terminal from the far one and from other devices', () => {
  const { masterFd, slaveFd } = openPty();
  const other = openSync('/dev/null', 'r');
  try {
    assert.deepEqual([masterFd, slaveFd, other].map(isPtyMaster), [true, false, false]);
  } finally {
    for (const fd of [masterFd, slaveFd, other]) closeSync(fd);
  }
});
