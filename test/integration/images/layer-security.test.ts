// Archives made to break out, delete, or exhaust: after each one nothing outside the root has changed.
import assert from 'node:assert/strict';
import { linkSync, lstatSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createLayerApplier, DEFAULT_APPLY_OPTIONS } from '../../../oci/layers/apply.ts';
import { encodeTarHeader, endOfArchive, paddingFor } from '../../../oci/layers/tar-writer.ts';
import { createLayerFiles } from '../../../runtime-shim/host/layer-files.ts';
import { makeTar, type TarItem } from '../../support/images.ts';
import { openLayerSandbox, xattrOf, type LayerSandbox } from '../../support/layers.ts';
import { requireRoot } from '../../support/require.ts';

/** Applies each case in a fresh root; it may be refused (as Invalid) or contained, but never reach out. */
function contained(t: TestContext, cases: (sandbox: LayerSandbox) => readonly (readonly TarItem[] | Buffer)[]): void {
  if (!requireRoot(t)) return;
  const count = cases(openAndClose()).length;
  for (let index = 0; index < count; index += 1) {
    using sandbox = openLayerSandbox();
    const before = sandbox.surroundings();
    try {
      sandbox.apply(cases(sandbox)[index] as readonly TarItem[]);
    } catch (error) {
      assert.equal((error as { reason?: string }).reason, 'Invalid', `case ${index}: ${String(error)}`);
    }
    assert.ok(statSync(sandbox.root).isDirectory(), `case ${index}`);
    assert.deepEqual(sandbox.surroundings(), before, `case ${index}`);
  }
}

function openAndClose(): LayerSandbox {
  using sandbox = openLayerSandbox();
  return sandbox;
}

test('tar: parent escape', (t) => {
  contained(t, ({ outside }) => [
    [{ name: '../x', content: 'x' }],
    [{ name: '../../outside/secret', content: 'x' }],
    [{ name: 'a/../../outside/secret', content: 'x' }],
    [{ name: `${outside}/secret`, content: 'x' }],
    [{ name: '/tmp/windlass-escape', content: 'x' }],
    [{ name: '..\\..\\x', content: 'x' }],
    [{ name: '..', type: 'directory', mode: 0o777 }],
    [{ name: './../', type: 'directory', mode: 0o777 }],
    [{ name: 'a\0/../../x', content: 'x' }],
    [{ name: `${'a/../'.repeat(500)}../x`, content: 'x' }],
    [{ name: '../.wh.outside' }],
    [{ name: '../outside/.wh..wh..opq' }],
  ]);
  if (process.getuid?.() !== 0) return;
  using sandbox = openLayerSandbox();
  sandbox.apply([
    { name: '/tmp/windlass-escape', content: 'in' },
    { name: '..\\x', content: 'b' },
  ]);
  assert.deepEqual(sandbox.list(), { tmp: 'dir 755', 'tmp/windlass-escape': '644 in', '..\\x': '644 b' });
  assert.throws(() => sandbox.apply([{ name: 'a/../../x' }]), { reason: 'Invalid', message: /leaves the root/ });
});

test('tar: link tricks (CVE-2021-32760, CVE-2018-15664)', (t) => {
  contained(t, ({ outside }) => [
    [
      { name: 'l', type: 'symlink', linkName: outside },
      { name: 'l/secret', content: 'x' },
    ],
    [
      { name: 'l', type: 'symlink', linkName: '../../outside' },
      { name: 'l/secret', content: 'x' },
    ],
    [
      { name: 'l', type: 'symlink', linkName: '../../outside/secret' },
      { name: 'l', content: 'x' },
    ],
    [
      { name: 'a', type: 'symlink', linkName: '..' },
      { name: 'b', type: 'symlink', linkName: 'a/..' },
      { name: 'b/outside/secret', content: 'x' },
    ],
    [
      { name: 'l', type: 'symlink', linkName: `${outside}/secret` },
      { name: 'h', type: 'hardlink', linkName: 'l' },
      { name: 'h', content: 'x' },
    ],
    [{ name: 'h', type: 'hardlink', linkName: `${outside}/secret` }],
    [{ name: 'h', type: 'hardlink', linkName: '../../outside/secret' }],
    [
      { name: 'l', type: 'symlink', linkName: outside },
      { name: 'h', type: 'hardlink', linkName: 'l/secret' },
      { name: 'h', content: 'x', mode: 0o777 },
    ],
    [
      { name: 'l', type: 'symlink', linkName: outside },
      { name: 'l/', type: 'directory', mode: 0o777, uid: 7 },
    ],
    [
      {
        name: 'l',
        type: 'symlink',
        linkName: `${outside}/secret`,
        mode: 0o777,
        uid: 7,
        xattrs: new Map([['user.x', Buffer.from('y')]]),
      },
    ],
    [{ name: 'l', type: 'symlink', linkName: outside }, { name: 'l/.wh.secret' }],
    [{ name: 'l', type: 'symlink', linkName: outside }, { name: 'l/.wh..wh..opq' }],
    [
      { name: 'l', type: 'symlink', linkName: outside },
      { name: 'l/new/deep', type: 'directory' },
    ],
    [
      { name: 'l', type: 'symlink', linkName: outside },
      { name: 'l/n', type: 'char', major: 1, minor: 3 },
    ],
    [
      { name: 'd/', type: 'directory' },
      { name: 'd/x', content: '1' },
      { name: 'd', type: 'symlink', linkName: outside },
      { name: 'd/secret', content: 'x' },
    ],
    [
      { name: 'x', type: 'symlink', linkName: 'x' },
      { name: 'x/y', content: '1' },
    ],
    [{ name: '.', type: 'symlink', linkName: outside }],
  ]);
});

test('tar: whiteout tricks', (t) => {
  contained(t, ({ outside }) => [
    [{ name: '.wh...' }],
    [{ name: '.wh..' }],
    [{ name: '.wh.' }],
    [{ name: 'a/.wh...' }],
    [{ name: '.wh./', type: 'directory' }],
    [{ name: '.wh.x/y', content: '1' }],
    [{ name: 'd/.wh..wh..opq', content: 'content' }],
    [{ name: '.wh..wh..opq' }],
    [{ name: 'l', type: 'symlink', linkName: outside }, { name: 'l/.wh.secret' }],
    [{ name: '.wh..wh.plnk/1', content: 'x' }, { name: '.wh..wh.aufs' }],
  ]);
  if (process.getuid?.() !== 0) return;
  using sandbox = openLayerSandbox();
  const result = sandbox.apply([
    { name: 'kept', content: 'mine' },
    { name: '.wh.kept' },
    { name: '.wh.gone' },
    { name: '.wh.again' },
    { name: 'again/', type: 'directory' },
    { name: '.wh.implied' },
    { name: 'implied/file', content: 'x' },
    { name: 'opaque/after', content: 'x' },
    { name: 'opaque/.wh..wh..opq' },
    { name: '.wh..wh..opq' },
    { name: '.wh..wh.plnk', content: 'x' },
  ]);
  assert.deepEqual(sandbox.list(), {
    again: 'dir 755',
    gone: 'whiteout',
    implied: 'dir 755',
    'implied/file': '644 x',
    kept: '644 mine',
    opaque: 'dir 755',
    'opaque/after': '644 x',
  });
  for (const name of ['again', 'implied', 'opaque']) {
    assert.equal(xattrOf(join(sandbox.root, name), 'trusted.overlay.opaque'), 'y', name);
  }
  assert.equal(result.isRootOpaque, true);
});

test('tar: odd entries', (t) => {
  if (!requireRoot(t)) return;
  const raw = (change: (header: Buffer) => void, content = ''): Buffer => {
    const header = Buffer.from(encodeTarHeader({ name: 'f', type: 'file', mode: 0o644, size: content.length }));
    change(header);
    header.fill(32, 148, 156);
    let sum = 0;
    for (const byte of header) sum += byte;
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    return Buffer.concat([header, Buffer.from(content), paddingFor(content.length), endOfArchive()]);
  };
  const refused: [string, Buffer | readonly TarItem[], RegExp][] = [
    ['negative size', raw((header) => header.fill(0xff, 124, 136)), /negative size/],
    [
      'huge size',
      raw((header) => header.set([0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 124)),
      /out of range/,
    ],
    ['size beyond the end', raw((header) => header.write('00000100000\0', 124)), /cut off/],
    ['size that is no number', raw((header) => header.write('9999zzzz', 124)), /not octal/],
    [
      '2 GB PAX header',
      raw((header) => {
        header.write('x', 156);
        header.write('20000000000\0', 124);
      }),
      /PAX header has 2147483648 bytes/,
    ],
    [
      'endless long name',
      raw((header) => {
        header.write('L', 156);
        header.write('00100000000\0', 124);
      }),
      /long name has/,
    ],
    ['name beyond PATH_MAX', [{ name: 'n'.repeat(5000) }], /the limit is 4096/],
    ['component beyond NAME_MAX', [{ name: `${'n'.repeat(256)}` }], /too long/],
    ['device 0/0', [{ name: 'd', type: 'char' }], /whiteout/],
    ['unknown type', raw((header) => header.write('Z', 156)), /unsupported entry type "Z"/],
    ['wrong checksum', Buffer.alloc(1024, 1), /checksum/],
    ['hard link to a later entry', [{ name: 'h', type: 'hardlink', linkName: 'f' }, { name: 'f' }], /not there/],
    ['uid -1', raw((header) => header.fill(0xff, 108, 116)), /uid -1 is out of range/],
    [
      'root that is a file',
      [{ name: './', content: 'x', type: 'file' }].map((item) => ({ ...item, name: '.' }) as TarItem),
      /the root is not a directory/,
    ],
  ];
  for (const [name, tar, message] of refused) {
    using sandbox = openLayerSandbox();
    const before = sandbox.surroundings();
    assert.throws(() => sandbox.apply(tar), { reason: 'Invalid', message }, name);
    assert.deepEqual(sandbox.surroundings(), before);
  }
  using sandbox = openLayerSandbox();
  const invalidUtf8 = Buffer.from([0x66, 0xff, 0xfe, 0x80]).toString('latin1');
  sandbox.apply([
    { name: invalidUtf8, content: 'bytes' },
    { name: 'Case', content: '1' },
    { name: 'case', content: '2' },
    { name: 'twice', content: 'first' },
    { name: 'twice', content: 'second' },
    { name: 'fifo', type: 'fifo', mode: 0o600 },
    { name: 'null', type: 'char', major: 1, minor: 3, mode: 0o666 },
    { name: 'dir/file', content: 'x' },
    { name: 'dir', content: 'now a file' },
    {
      name: 'evil',
      content: 'x',
      xattrs: new Map([
        ['trusted.overlay.redirect', Buffer.from('/etc')],
        ['user.ok', Buffer.from('1')],
      ]),
    },
  ]);
  assert.deepEqual(sandbox.list(), {
    [invalidUtf8]: '644 bytes',
    Case: '644 1',
    case: '644 2',
    dir: '644 now a file',
    evil: '644 x',
    fifo: 'other 600',
    null: 'char 259',
    twice: '644 second',
  });
  assert.equal(xattrOf(join(sandbox.root, 'evil'), 'trusted.overlay.redirect'), undefined);
  assert.equal(xattrOf(join(sandbox.root, 'evil'), 'user.ok'), '1');
});

test('tar: sparse map overlap is refused', (t) => {
  if (!requireRoot(t)) return;
  const pax = (records: Record<string, string>): Buffer => {
    const body = Buffer.concat(
      Object.entries(records).map(([key, value]) => {
        const rest = ` ${key}=${value}\n`;
        let length = rest.length + 2;
        if (String(length).length !== 2) length = rest.length + String(length).length;
        return Buffer.from(`${length}${rest}`);
      }),
    );
    const header = Buffer.from(encodeTarHeader({ name: 'p', type: 'file', size: body.length }));
    header.write('x', 156);
    header.fill(32, 148, 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    return Buffer.concat([header, body, paddingFor(body.length)]);
  };
  const file = makeTar([{ name: 's', content: '0123456789' }]);
  const archive = (map: string, size: string): Buffer =>
    Buffer.concat([pax({ 'GNU.sparse.map': map, 'GNU.sparse.size': size, 'GNU.sparse.name': 'sparse' }), file]);
  for (const [map, size, message] of [
    ['0,6,4,4', '100', /overlap/],
    ['0,4,96,6', '100', /behind the end/],
    ['0,4', '100', /does not match/],
    ['0,4,5', '100', /pairs/],
    ['0,-4,5,14', '100', /invalid number/],
  ] as const) {
    using sandbox = openLayerSandbox();
    assert.throws(() => sandbox.apply(archive(map, size)), { reason: 'Invalid', message });
  }
  using sandbox = openLayerSandbox();
  sandbox.apply(archive('0,4,90,6', '100'));
  const bytes = readFileSync(join(sandbox.root, 'sparse'), 'latin1');
  assert.equal(bytes.replaceAll('\0', '.'), `0123${'.'.repeat(86)}456789${'.'.repeat(4)}`);
});

test('tar: odd entries: any number of them needs little memory, and limits end more', (t) => {
  if (!requireRoot(t)) return;
  const count = process.env['WINDLASS_LONG'] ? 1_000_000 : 200_000;
  using sandbox = openLayerSandbox();
  // Bookkeeping of aufs, which is read and left out: what is measured is the reader, not the disk.
  const block = Buffer.concat(
    Array.from({ length: 2000 }, () => makeTar([{ name: '.wh..wh.x', content: '' }]).subarray(0, 512)),
  );
  const applier = createLayerApplier(sandbox.root, createLayerFiles(), { ...DEFAULT_APPLY_OPTIONS, maxEntries: count });
  const before = process.memoryUsage().rss;
  for (let index = 0; index < count / 2000; index += 1) applier.reader.write(block);
  assert.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024);
  assert.throws(() => applier.reader.write(block), {
    reason: 'Invalid',
    message: new RegExp(`more than ${count} entries`),
  });
  assert.throws(() => sandbox.apply([{ name: 'big', content: 'x'.repeat(2000) }], { maxBytes: 1000 }), {
    reason: 'Invalid',
    message: /more than 1000 bytes/,
  });
  assert.throws(() => sandbox.apply([{ name: 'big', content: 'x' }], { minFreeBytes: Number.MAX_SAFE_INTEGER }), {
    reason: 'Unavailable',
    message: 'no space left on device',
  });
  assert.deepEqual(readdirSync(join(sandbox.root, '..')), ['root']);
});

test('a hard link never changes the file it was made from outside', (t) => {
  if (!requireRoot(t)) return;
  using sandbox = openLayerSandbox();
  sandbox.apply([{ name: 'f', content: 'one' }]);
  linkSync(join(sandbox.root, 'f'), join(sandbox.outside, 'linked'));
  sandbox.apply([{ name: 'f', content: 'two', mode: 0o777 }]);
  assert.equal(readFileSync(join(sandbox.outside, 'linked'), 'utf8'), 'one');
  assert.equal(lstatSync(join(sandbox.outside, 'linked')).mode & 0o777, 0o644);
});
