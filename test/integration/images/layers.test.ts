import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { digestOf } from '../../../oci/digest.ts';
import { messageOf } from '../../../lib/errors.ts';
import { createWholeGzip, type WholeGzip } from '../../../oci/layers/inflate-gzip.ts';
import { unpackLayer } from '../../../oci/layers/unpack.ts';
import { createGzipInflater } from '../../../runtime-shim/host/gzip.ts';
import { createLayerFiles } from '../../../runtime-shim/host/layer-files.ts';
import { makeTar } from '../../support/images.ts';
import { gnuTar, openLayerSandbox, xattrOf } from '../../support/layers.ts';
import { requireRoot } from '../../support/require.ts';

test('createLayerApplier() keeps owners, modes, setuid, times to the nanosecond, links, devices and attributes', (t) => {
  if (!requireRoot(t)) return;
  using sandbox = openLayerSandbox();
  const mtime = { seconds: 1_700_000_000, nanoseconds: 123_456_789 };
  sandbox.apply([
    { name: './', type: 'directory', mode: 0o750, uid: 5, gid: 6 },
    { name: 'd/', type: 'directory', mode: 0o1777, mtime },
    { name: 'd/suid', content: 'x', mode: 0o4755, uid: 3_000_000, gid: 4_000_000, mtime },
    { name: 'd/old', content: 'x', mtime: { seconds: -2, nanoseconds: 500_000_000 } },
    { name: `d/${'long'.repeat(50)}`, content: 'long' },
    {
      name: 'd/cap',
      content: 'x',
      uid: 9,
      xattrs: new Map([['security.capability', Buffer.from('0100000200040000000000000000000000000000', 'hex')]]),
    },
    { name: 'd/hard', type: 'hardlink', linkName: 'd/suid' },
    { name: 'soft', type: 'symlink', linkName: 'd/suid', uid: 8, mtime },
    { name: 'abs', type: 'symlink', linkName: '/d' },
    { name: 'abs/through', content: 'in d' },
    { name: 'dev', type: 'block', major: 300, minor: 70_000, mode: 0o640 },
  ]);
  const at = (name: string) => lstatSync(join(sandbox.root, name), { bigint: true });
  const nanoseconds = 1_700_000_000_123_456_789n;
  assert.equal(at('').mode & 0o7777n, 0o750n);
  assert.equal(at('d').mode & 0o7777n, 0o1777n);
  assert.equal(at('d').mtimeNs, nanoseconds);
  assert.equal(at('d/suid').mode & 0o7777n, 0o4755n);
  assert.deepEqual([at('d/suid').uid, at('d/suid').gid], [3_000_000n, 4_000_000n]);
  assert.equal(at('d/suid').mtimeNs, nanoseconds);
  assert.equal(at('d/old').mtimeNs, -1_500_000_000n);
  assert.equal(at('d/hard').ino, at('d/suid').ino);
  assert.equal(at('soft').uid, 8n);
  assert.equal(at('soft').mtimeNs, nanoseconds);
  assert.equal(readFileSync(join(sandbox.root, 'd/through'), 'utf8'), 'in d');
  assert.ok(at('dev').isBlockDevice());
  assert.ok(xattrOf(join(sandbox.root, 'd/cap'), 'security.capability'));
  const device = execFileSync('stat', ['-c', '%t %T', join(sandbox.root, 'dev')], { encoding: 'utf8' });
  assert.equal(device.trim(), `${(300).toString(16)} ${(70_000).toString(16)}`);
});

for (const flags of [
  ['--format=gnu', '-S'],
  ['--format=posix', '-S'],
  ['--format=posix', '-S', '--sparse-version=0.1'],
  ['--format=posix', '-S', '--sparse-version=0.0'],
  ['--format=gnu'],
  ['--format=v7'],
  ['--format=ustar'],
]) {
  test(`createTarReader() reads what GNU tar ${flags.join(' ')} writes`, (t) => {
    if (!requireRoot(t)) return;
    const folder = mkdtempSync(join(tmpdir(), 'windlass-tar-'));
    try {
      const isOld = flags.includes('--format=v7') || flags.includes('--format=ustar');
      const long = isOld ? 'short' : `${'n'.repeat(120)}/${'m'.repeat(120)}`;
      mkdirSync(join(folder, long), { recursive: true });
      writeFileSync(join(folder, long, 'file'), 'content');
      execFileSync(
        'sh',
        [
          '-c',
          'truncate -s 3M sparse; for i in 1 5 9 17 30 40; do printf "block$i" | dd of=sparse bs=64K seek=$i conv=notrunc status=none; done; truncate -s 5000 empty',
        ],
        { cwd: folder },
      );
      using sandbox = openLayerSandbox();
      sandbox.apply(gnuTar(folder, ...flags));
      assert.equal(readFileSync(join(sandbox.root, long, 'file'), 'utf8'), 'content');
      for (const name of ['sparse', 'empty']) {
        assert.ok(readFileSync(join(sandbox.root, name)).equals(readFileSync(join(folder, name))), name);
      }
      if (flags.includes('-S')) assert.ok(statSync(join(sandbox.root, 'sparse')).blocks < 3 * 1024 * 2);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}

/** Unpacks as a stream and, where the library is installed, in one go: both must come to the same. */
async function unpack(
  blob: Buffer,
  compression: 'gzip' | 'zstd',
  tar: Buffer | undefined,
): Promise<Record<string, string>> {
  const inflater = compression === 'gzip' ? createGzipInflater() : undefined;
  const ways = [undefined, ...(inflater ? [createWholeGzip(inflater, 64 * 1024 * 1024)] : [])];
  const results = await Promise.allSettled(ways.map((whole) => unpackOnce(blob, compression, tar, whole)));
  const [first, second = first] = results.map((result) =>
    result.status === 'fulfilled' ? result.value : `refused: ${messageOf(result.reason)}`,
  );
  assert.deepEqual(second, first);
  const [result] = results as [(typeof results)[number]];
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}

async function unpackOnce(
  blob: Buffer,
  compression: 'gzip' | 'zstd',
  tar: Buffer | undefined,
  whole: WholeGzip | undefined,
): Promise<Record<string, string>> {
  using sandbox = openLayerSandbox();
  const blobPath = join(sandbox.outside, 'blob');
  writeFileSync(blobPath, blob);
  const diffId = tar === undefined ? undefined : digestOf(tar);
  const request = { blobPath, digest: 'sha256:x', compression, diffId, target: sandbox.root };
  await unpackLayer(request, createLayerFiles(), whole);
  return sandbox.list();
}

test('unpackLayer() reads several gzip members and several zstd frames, empty and skippable ones too', async (t) => {
  if (!requireRoot(t)) return;
  const tar = makeTar([
    { name: 'a', content: '1' },
    { name: 'b', content: '2' },
  ]);
  const halves = [tar.subarray(0, 700), tar.subarray(700)];
  const gzip = Buffer.concat([gzipSync(''), ...halves.map((half) => gzipSync(half)), gzipSync('')]);
  assert.deepEqual(await unpack(gzip, 'gzip', tar), { a: '644 1', b: '644 2' });
  const skippable = Buffer.from('502a4d1803000000aabbcc', 'hex');
  const frames = [zstdCompressSync(''), skippable, ...halves.map((half) => zstdCompressSync(half)), skippable];
  assert.deepEqual(await unpack(Buffer.concat(frames), 'zstd', tar), { a: '644 1', b: '644 2' });
});

test('unpackLayer() refuses damaged, cut-off and exchanged data by the name of the layer', async (t) => {
  if (!requireRoot(t)) return;
  const tar = makeTar([{ name: 'a', content: 'x'.repeat(5000) }]);
  const damaged = { reason: 'Invalid', message: /^layer sha256:x: its compressed data is damaged$/ };
  await assert.rejects(unpack(gzipSync(tar).subarray(0, 60), 'gzip', tar), damaged);
  await assert.rejects(unpack(Buffer.from('garbage garbage'), 'gzip', tar), damaged);
  await assert.rejects(unpack(zstdCompressSync(tar).subarray(0, 30), 'zstd', tar), damaged);
  await assert.rejects(unpack(Buffer.from('garbage garbage'), 'zstd', tar), damaged);
  await assert.rejects(unpack(gzipSync(tar), 'gzip', Buffer.from('other')), {
    reason: 'Invalid',
    message: /^layer sha256:x: its tar has digest sha256:[0-9a-f]{64}, want sha256:/,
  });
});

test('decompression bombs (CVE-2023-25153): a layer that grows beyond reason is stopped', async (t) => {
  if (!requireRoot(t)) return;
  // 1.2 GB of zeros inside one file's content; the floor of the ratio is 1 GiB.
  const size = 1_200_000_000;
  const head = makeTar([{ name: 'bomb', content: '' }]).subarray(0, 512);
  head.write(`${size.toString(8)}\0`, 124, 'latin1');
  head.fill(32, 148, 156);
  head.write(
    `${head
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
    'latin1',
  );
  // Many empty members, and a last one that lies about the size of them all.
  const tar = makeTar([{ name: 'a', content: '1' }]);
  const empty = gzipSync('');
  const members = Buffer.concat([...Array.from({ length: 50_000 }, () => empty), gzipSync(tar)]);
  assert.deepEqual(await unpack(members, 'gzip', tar), { a: '644 1' });
  const lying = Buffer.concat([gzipSync(tar), empty]);
  assert.deepEqual(await unpack(lying, 'gzip', tar), { a: '644 1' });
  const huge = gzipSync(tar);
  huge.writeUInt32LE(0xffff_ffff, huge.length - 4);
  await assert.rejects(unpack(huge, 'gzip', tar), { reason: 'Invalid', message: /damaged/ });
  const zeros = gzipSync(Buffer.alloc(8_000_000), { level: 1 });
  const bomb = Buffer.concat([gzipSync(head), ...Array.from({ length: 150 }, () => zeros)]);
  await assert.rejects(unpack(bomb, 'gzip', undefined), {
    reason: 'Invalid',
    message: /unpacks to more than 200 times/,
  });
  // A frame that wants a window of 2 GiB.
  const window = Buffer.from('28b52ffd00a8010000', 'hex');
  await assert.rejects(unpack(window, 'zstd', undefined), { reason: 'Invalid', message: /damaged/ });
});

test('createLayerApplier() says what a layer takes on disk', (t) => {
  if (!requireRoot(t)) return;
  using sandbox = openLayerSandbox();
  const result = sandbox.apply([
    { name: 'd/small', content: 'x' },
    { name: 'd/large', content: 'x'.repeat(100_000) },
    { name: 'd/linked', type: 'hardlink', linkName: 'd/large' },
    { name: 'short', type: 'symlink', linkName: 'd' },
    { name: 'long', type: 'symlink', linkName: 'd'.repeat(200) },
    { name: '.wh.gone' },
    { name: 'empty', content: '' },
  ]);
  const [bytes] = execFileSync('du', ['-s', '--block-size=1', sandbox.root], { encoding: 'utf8' }).split('\t');
  const [inodes] = execFileSync('du', ['-s', '--inodes', sandbox.root], { encoding: 'utf8' }).split('\t');
  assert.deepEqual([result.usedBytes, result.inodes], [Number(bytes), Number(inodes)]);
});
