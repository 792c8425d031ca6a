import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePax, parseSparsePairs, paxTime } from '../../../../oci/layers/pax.ts';
import { splitEntryName } from '../../../../oci/layers/rooted-paths.ts';
import type { TarEntry } from '../../../../oci/layers/tar-header.ts';
import { createTarReader } from '../../../../oci/layers/tar-reader.ts';
import { makeTar, type TarItem } from '../../../support/images.ts';

function read(tar: Buffer, pieceBytes: number): { entry: TarEntry; content: string }[] {
  const found: { entry: TarEntry; content: string }[] = [];
  const reader = createTarReader((entry) => {
    const item = { entry, content: '' };
    found.push(item);
    return { write: (chunk) => void (item.content += chunk.toString('latin1')), end: () => undefined };
  });
  for (let at = 0; at < tar.length; at += pieceBytes) reader.write(tar.subarray(at, at + pieceBytes));
  reader.end();
  return found;
}

test('createTarReader() gives back what makeTar() wrote, however the bytes are cut', () => {
  const items: TarItem[] = [
    { name: 'dir/', type: 'directory', mode: 0o700 },
    { name: 'dir/file', content: 'x'.repeat(1500), uid: 1000, gid: 3_000_000, mtime: { seconds: 1, nanoseconds: 5 } },
    { name: 'n'.repeat(200), content: 'long' },
    { name: 'bytes-\xff\xfe', type: 'symlink', linkName: 't'.repeat(150) },
    {
      name: 'x',
      content: '',
      xattrs: new Map([['user.a', Buffer.from('v=1\n2')]]),
      mtime: { seconds: -5, nanoseconds: 1 },
    },
  ];
  const tar = makeTar(items);
  for (const pieceBytes of [1, 511, 512, 513, 4096, tar.length]) {
    const found = read(tar, pieceBytes);
    assert.deepEqual(
      found.map(({ entry }) => entry.name),
      items.map(({ name }) => name),
    );
    assert.equal(found[1]?.content, 'x'.repeat(1500));
    assert.deepEqual([found[1]?.entry.uid, found[1]?.entry.gid], [1000, 3_000_000]);
    assert.deepEqual(found[1]?.entry.mtime, { seconds: 1, nanoseconds: 5 });
    assert.equal(found[3]?.entry.linkName, 't'.repeat(150));
    assert.equal(found[4]?.entry.xattrs.get('user.a')?.toString(), 'v=1\n2');
    assert.deepEqual(found[4]?.entry.mtime, { seconds: -5, nanoseconds: 1 });
  }
});

test('createTarReader() ignores what follows the end, and takes an archive without an end mark', () => {
  const tar = makeTar([{ name: 'a', content: '1' }]);
  assert.equal(read(Buffer.concat([tar, Buffer.alloc(5000, 7)]), 1000).length, 1);
  assert.equal(read(tar.subarray(0, 1024), 1000).length, 1);
  assert.throws(() => read(tar.subarray(0, 900), 1000), { reason: 'Invalid', message: /cut off/ });
  assert.equal(read(Buffer.alloc(0), 1).length, 0);
});

test('parsePax() refuses records whose lengths lie', () => {
  assert.deepEqual([...parsePax(Buffer.from('9 a=bcde\n')).keys()], ['a']);
  for (const body of [
    '9 a=bcd\n',
    '99 a=b\n',
    '5 ab\n',
    'a=b\n',
    '0 a=b\n',
    '6 a=b ',
    '99999999999 a=b\n',
    ' 6 a=b\n',
  ]) {
    assert.throws(() => parsePax(Buffer.from(body)), { reason: 'Invalid' }, body);
  }
});

test('paxTime() counts nanoseconds upwards, before 1970 too', () => {
  assert.deepEqual(paxTime(Buffer.from('-1.5'), 'mtime'), { seconds: -2, nanoseconds: 500_000_000 });
  assert.deepEqual(paxTime(Buffer.from('3.1'), 'mtime'), { seconds: 3, nanoseconds: 100_000_000 });
  assert.throws(() => paxTime(Buffer.from('1e9'), 'mtime'), { reason: 'Invalid' });
  assert.throws(() => parseSparsePairs('1'), { reason: 'Invalid' });
});

test('splitEntryName() keeps names inside the root', () => {
  assert.deepEqual(splitEntryName('/a//./b/../c/'), ['a', 'c']);
  assert.deepEqual(splitEntryName('./'), []);
  for (const name of ['..', '../a', 'a/../..', '/..', 'a/../../b', './../x']) {
    assert.throws(() => splitEntryName(name), { reason: 'Invalid', message: /leaves the root/ }, name);
  }
});
