import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf } from '../../../../oci/digest.ts';
import { writeLayer, type WrittenLayer } from '../../../../oci/layers/diff-layer.ts';
import { FILE_TYPE, nativePath } from '../../../../oci/layers/file-system-calls.ts';
import { createLayerFiles } from '../../../../runtime-shim/host/layer-files.ts';
import { openLayerSandbox } from '../../../support/layers.ts';
import { requireRoot } from '../../../support/require.ts';

const calls = createLayerFiles();
const CLAMP = 1_700_000_000;

interface Place extends Disposable {
  readonly upper: string;
  write(options?: { clampSeconds?: number; base?: { mode: number; uid: number; gid: number } }): Promise<{
    layer: WrittenLayer;
    tar: Buffer;
    list: string[];
  }>;
}

function makePlace(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-diff-'));
  const upper = join(folder, 'upper');
  mkdirSync(upper);
  let count = 0;
  return {
    upper,
    async write(options = {}) {
      const target = join(folder, `layer-${count++}.tar`);
      const layer = await writeLayer(upper, target, { calls, flush: false, ...options });
      const tar = readFileSync(target);
      assert.equal(layer.diffId, digestOf(tar));
      assert.equal(layer.sizeBytes, tar.length);
      const list = execFileSync('tar', ['--numeric-owner', '-tf', target], { encoding: 'utf8' });
      return { layer, tar, list: list.split('\n').filter(Boolean) };
    },
    // Of nested folders, paths longer than Node takes.
    [Symbol.dispose]: () => execFileSync('rm', ['-rf', folder]),
  };
}

/** What there is to know of every path below `root`. */
function describeTree(root: string): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  const inodes = new Map<bigint, string>();
  const walk = (folder: string, name: string): void => {
    for (const entry of readdirSync(nativePath(folder), { encoding: 'latin1' }).toSorted()) {
      const path = `${folder}/${entry}`;
      const stat = lstatSync(nativePath(path), { bigint: true });
      const key = `${name}${entry}`;
      const same = stat.isDirectory() ? key : (inodes.get(stat.ino) ?? key);
      inodes.set(stat.ino, same);
      found[key] = {
        mode: stat.mode,
        owner: [stat.uid, stat.gid],
        device: stat.rdev,
        mtimeNs: stat.isCharacterDevice() && stat.rdev === 0n ? undefined : stat.mtimeNs,
        same,
        content: stat.isFile() ? digestOf(readFileSync(nativePath(path))) : undefined,
        xattrs: [...calls.readXattrs(path)].map(([key_, value]) => `${key_}=${value.toString('hex')}`).toSorted(),
      };
      if (stat.isDirectory()) walk(path, `${key}/`);
    }
  };
  walk(root, '');
  return found;
}

function fill(upper: string): void {
  const at = (name: string): string => join(upper, name);
  mkdirSync(at('etc'));
  writeFileSync(at('etc/passwd'), 'root:x:0:0::/:/bin/sh\n');
  mkdirSync(at('etc-more'));
  writeFileSync(at('etc-more/empty'), '');
  chmodSync(at('etc-more'), 0o1777);
  lchownSync(at('etc/passwd'), 12, 34);
  chmodSync(at('etc/passwd'), 0o4755);
  symlinkSync('../etc/passwd', at('etc/link'));
  linkSync(at('etc/passwd'), at('hard'));
  writeFileSync(at('big'), Buffer.alloc(3_000_001, 7));
  writeFileSync(Buffer.from(`${upper}/latin-\xe9`, 'latin1'), 'bytes');
  writeFileSync(at(`${'long'.repeat(40)}.txt`), 'long');
  mkdirSync(at('gone'));
  calls.mknod(at('gone/file'), FILE_TYPE.char, 0, 0);
  mkdirSync(at('opaque'));
  writeFileSync(at('opaque/new'), 'new');
  calls.lsetxattr(at('opaque'), 'trusted.overlay.opaque', Buffer.from('y'));
  calls.mknod(at('null'), FILE_TYPE.char | 0o666, 1, 3);
  calls.mknod(at('disk'), FILE_TYPE.block | 0o660, 259, 70_000);
  calls.mknod(at('pipe'), FILE_TYPE.fifo | 0o600, 0, 0);
  calls.lsetxattr(at('big'), 'user.note', Buffer.from([0, 255, 10]));
  calls.lsetxattr(at('big'), 'trusted.private', Buffer.from('x'));
  calls.lsetxattr(at('hard'), 'security.capability', Buffer.from('0100000200040000000000000000000000000000', 'hex'));
  lutimesSync(at('etc/link'), 1.5, 1.5);
  utimesSync(at('big'), 1_600_000_000.25, 1_600_000_000.25);
}

test('writeLayer() gives a tar that unpacks to the same tree', async (t) => {
  if (!requireRoot(t)) return;
  using place = makePlace();
  using sandbox = openLayerSandbox();
  fill(place.upper);
  const { layer, tar } = await place.write({ clampSeconds: CLAMP });
  const applied = sandbox.apply(tar);
  const written = describeTree(place.upper) as Record<string, { xattrs: string[] }>;
  written['big']!.xattrs = written['big']!.xattrs.filter((text) => !text.startsWith('trusted.private'));
  assert.deepEqual(describeTree(sandbox.root), written);
  assert.equal(layer.inodes, applied.inodes);
  assert.equal(layer.isRootOpaque, false);
  assert.equal(layer.isEmpty, false);
});

test('writeLayer() sorts bytewise, folder by folder, with whiteouts among the rest', async (t) => {
  if (!requireRoot(t)) return;
  using place = makePlace();
  fill(place.upper);
  const { list, layer } = await place.write();
  const plain = list.filter((name) => /^(etc|gone|opaque|hard)/.test(name));
  assert.deepEqual(plain, [
    'etc/',
    'etc/link',
    'etc/passwd',
    'etc-more/',
    'etc-more/empty',
    'gone/',
    'gone/.wh.file',
    'hard',
    'opaque/',
    'opaque/.wh..wh..opq',
    'opaque/new',
  ]);
  assert.equal(layer.entries, list.length);
});

test('writeLayer() of equal trees made in another order gives equal bytes', async (t) => {
  if (!requireRoot(t)) return;
  using one = makePlace();
  using other = makePlace();
  for (const name of ['b', 'a', 'c']) writeFileSync(join(one.upper, name), name);
  for (const name of ['c', 'b', 'a']) writeFileSync(join(other.upper, name), name);
  const first = await one.write({ clampSeconds: CLAMP });
  assert.equal(first.layer.diffId, (await other.write({ clampSeconds: CLAMP })).layer.diffId);
  assert.equal(first.layer.diffId, (await one.write({ clampSeconds: CLAMP })).layer.diffId);
});

test('writeLayer() clamps times in the tar and in the directory', async (t) => {
  if (!requireRoot(t)) return;
  using place = makePlace();
  writeFileSync(join(place.upper, 'new'), '');
  writeFileSync(join(place.upper, 'old'), '');
  utimesSync(join(place.upper, 'old'), 1000.75, 1000.75);
  await place.write({ clampSeconds: CLAMP });
  assert.equal(lstatSync(join(place.upper, 'new'), { bigint: true }).mtimeNs, BigInt(CLAMP) * 1_000_000_000n);
  assert.equal(lstatSync(join(place.upper, 'old'), { bigint: true }).mtimeNs, 1_000_000_000_000n);
  assert.equal(lstatSync(place.upper, { bigint: true }).mtimeNs, BigInt(CLAMP) * 1_000_000_000n);
});

test('writeLayer() has the root as an entry only when it differs from the one below', async (t) => {
  if (!requireRoot(t)) return;
  using place = makePlace();
  chmodSync(place.upper, 0o755);
  assert.deepEqual((await place.write({ base: { mode: 0o755, uid: 0, gid: 0 } })).list, []);
  const empty = await place.write();
  assert.equal(empty.layer.isEmpty, true);
  assert.equal(empty.tar.length, 1024);
  chmodSync(place.upper, 0o1777);
  const { layer, list, tar } = await place.write({ base: { mode: 0o755, uid: 0, gid: 0 } });
  assert.deepEqual(list, ['./']);
  assert.equal(layer.isEmpty, false);
  using sandbox = openLayerSandbox();
  sandbox.apply(tar);
  assert.equal(lstatSync(sandbox.root).mode & 0o7777, 0o1777);
});

test('writeLayer() tells of a root that hides everything', async (t) => {
  if (!requireRoot(t)) return;
  using place = makePlace();
  calls.lsetxattr(place.upper, 'trusted.overlay.opaque', Buffer.from('y'));
  const { layer, list, tar } = await place.write();
  assert.deepEqual(list, ['.wh..wh..opq']);
  assert.equal(layer.isRootOpaque, true);
  using sandbox = openLayerSandbox();
  assert.equal(sandbox.apply(tar).isRootOpaque, true);
});

test('writeLayer() leaves out sockets and refuses names that would delete other files', async (t) => {
  if (!requireRoot(t)) return;
  using place = makePlace();
  const server = createServer().listen(join(place.upper, 'socket'));
  await new Promise((resolve) => server.once('listening', resolve));
  assert.deepEqual((await place.write()).list, []);
  await new Promise((resolve) => server.close(resolve));
  writeFileSync(join(place.upper, '.wh.passwd'), '');
  await assert.rejects(place.write(), /a file named ".wh.passwd" cannot be in a layer/);
});

test('writeLayer() leaves no file behind when it fails', async (t) => {
  if (!requireRoot(t)) return;
  using place = makePlace();
  const target = join(place.upper, '../failed.tar');
  calls.lsetxattr(place.upper, 'trusted.overlay.redirect', Buffer.from('/x'));
  await assert.rejects(writeLayer(place.upper, target, { calls }), /trusted.overlay.redirect/);
  assert.equal(lstatSync(target, { throwIfNoEntry: false }), undefined);
});

test('writeLayer() reaches folders nested beyond the longest path', async (t) => {
  if (!requireRoot(t)) return;
  using place = makePlace();
  const name = 'n'.repeat(100);
  nest(place.upper, name, 30);
  const { layer, tar } = await place.write({ clampSeconds: CLAMP });
  assert.equal(layer.entries, 30);
  using sandbox = openLayerSandbox();
  sandbox.apply(tar);
  nest(place.upper, name, 45);
  await assert.rejects(place.write(), /is longer than the 4096 of a layer/);
});

/** Makes folders named `name` in one another; the path of the innermost may be longer than the kernel takes. */
function nest(top: string, name: string, depth: number): void {
  let fd = openSync(top, 'r');
  for (let count = 0; count < depth; count += 1) {
    const below = `/proc/self/fd/${fd}/${name}`;
    mkdirSync(below, { recursive: true });
    const inner = openSync(below, 'r');
    closeSync(fd);
    fd = inner;
  }
  closeSync(fd);
}
