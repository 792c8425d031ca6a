import assert from 'node:assert/strict';
import {
  chmodSync,
  linkSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FILE_TYPE } from '../../../../oci/layers/file-system-calls.ts';
import { createLayerFiles } from '../../../../runtime-shim/host/layer-files.ts';
import { kernelMounts } from '../../../../runtime-shim/snapshots/overlay-mounts.ts';
import { openBuildPlace } from '../../../support/build-place.ts';
import { openLayerSandbox } from '../../../support/layers.ts';
import { requireRoot } from '../../../support/require.ts';

const calls = createLayerFiles();

test('COPY of a file: as the destination, into a folder, into what ends in a slash', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace({ 'etc/': '' });
  place.write({ 'a.txt': 'a' });
  await place.copy({ sources: ['a.txt'], destination: '/new/b.txt' });
  await place.copy({ sources: ['./a.txt'], destination: '/etc' });
  await place.copy({ sources: ['/a.txt'], destination: '/more/deep/' });
  assert.deepEqual(place.list(), {
    'etc/': '755',
    'etc/a.txt': '644 a',
    'more/': '755',
    'more/deep/': '755',
    'more/deep/a.txt': '644 a',
    'new/': '755',
    'new/b.txt': '644 a',
  });
});

test('COPY of a folder copies what is in it, and merges with what is there', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace({ 'srv/old': 'old', 'srv/sub/kept': 'kept', 'srv/sub/same': 'before' });
  place.write({ 'app/sub/same': 'after', 'app/sub/new': 'new', 'app/top': 'top', 'app/empty/': '' });
  chmodSync(join(place.source, 'app/sub'), 0o2750);
  lchownSync(join(place.source, 'app/top'), 1234, 1234);
  chmodSync(join(place.source, 'app/top'), 0o4711);
  symlinkSync('sub/same', join(place.source, 'app/link'));
  symlinkSync('/nowhere', join(place.source, 'app/dangling'));
  linkSync(join(place.source, 'app/top'), join(place.source, 'app/twin'));
  calls.mknod(join(place.source, 'app/pipe'), FILE_TYPE.fifo | 0o600, 0, 0);
  await place.copy({ sources: ['app'], destination: '/srv' });
  assert.deepEqual(place.list('srv'), {
    dangling: '-> /nowhere',
    'empty/': '755',
    link: '-> sub/same',
    old: '644 old',
    pipe: '600 special',
    'sub/': '2750',
    'sub/kept': '644 kept',
    'sub/new': '644 new',
    'sub/same': '644 after',
    top: '4711 top',
    twin: '4711 top',
  });
  assert.equal(statSync(join(place.upper, 'srv/top')).ino, statSync(join(place.upper, 'srv/twin')).ino);
});

test('COPY keeps whole seconds of times and extended attributes', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({ 'app/file': 'x' });
  calls.lsetxattr(join(place.source, 'app/file'), 'user.note', Buffer.from([1, 0, 2]));
  calls.lsetxattr(join(place.source, 'app/file'), 'trusted.private', Buffer.from('x'));
  calls.lsetxattr(join(place.source, 'app'), 'user.folder', Buffer.from('f'));
  utimesSync(join(place.source, 'app/file'), 1_500_000_000.9, 1_500_000_000.9);
  utimesSync(join(place.source, 'app'), 1_600_000_000, 1_600_000_000);
  const resolved = await place.copy({ sources: ['.'], destination: '/srv' });
  assert.equal(resolved.newestSeconds, 1_600_000_000);
  const copied = join(place.root, 'srv/app/file');
  assert.equal(lstatSync(copied, { bigint: true }).mtimeNs, 1_500_000_000_000_000_000n);
  assert.equal(lstatSync(join(place.root, 'srv/app')).mtimeMs, 1_600_000_000_000);
  const attributes = calls.readXattrs(copied);
  assert.deepEqual(attributes.get('user.note'), Buffer.from([1, 0, 2]));
  assert.equal(attributes.has('trusted.private'), false);
  assert.equal(calls.readXattrs(join(place.root, 'srv/app')).get('user.folder')?.toString(), 'f');
});

test('COPY with wildcards, sorted, without following links in the middle', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({
    'one.txt': '1',
    'two.txt': '2',
    'skip.md': '3',
    'a/x.go': 'ax',
    'b/x.go': 'bx',
    'b/y.go': 'by',
    '[odd]': 'odd',
  });
  symlinkSync('b', join(place.source, 'c'));
  await place.copy({ sources: ['*.txt', '?/x.go'], destination: '/w/' });
  assert.deepEqual(place.list('w'), { 'one.txt': '644 1', 'two.txt': '644 2', 'x.go': '644 bx' });
  await place.copy({ sources: ['\\[odd\\]'], destination: '/w/' });
  assert.equal(place.list('w')['[odd]'], '644 odd');
  await place.copy({ sources: ['*.txt', '*.none'], destination: '/v/' });
  await assert.rejects(place.resolve({ sources: ['*.none'], destination: '/w/' }), {
    reason: 'Invalid',
    message: 'nothing in the build context matches "*.none"',
  });
  await assert.rejects(
    place.copy({ sources: ['*.txt'], destination: '/w/one-name' }),
    /the destination has to end with a \//,
  );
  await assert.rejects(place.resolve({ sources: ['one.txt', 'two.txt'], destination: '/w' }), /has to end with a \//);
  await assert.rejects(place.resolve({ sources: ['[a'], destination: '/w' }), /invalid pattern "\[a"/);
});

test('COPY names a source that is missing, and why', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({ here: 'x', 'secret/key': 'k', 'kept/a': 'a' });
  const rules = { ignore: ['secret', 'kept', '!kept/a'], ignoreFile: '.dockerignore' };
  await assert.rejects(place.resolve({ sources: ['gone'] }, rules), {
    reason: 'Invalid',
    message: 'source "gone" is not in the build context',
  });
  for (const source of ['secret', 'secret/key']) {
    await assert.rejects(place.resolve({ sources: [source] }, rules), {
      reason: 'Invalid',
      message: `source ${JSON.stringify(source)} is not in the build context: it is left out by .dockerignore`,
    });
  }
  await place.copy({ sources: ['kept'], destination: '/kept' }, rules);
  assert.deepEqual(place.list('kept'), { a: '644 a' });
});

test('COPY . leaves out what .dockerignore does, and keeps folders of what it takes back', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({
    'node_modules/x/index.js': 'x',
    'node_modules/y/index.js': 'y',
    'src/main.ts': 'main',
    'src/main.test.ts': 'test',
    'README.md': 'readme',
    'docs/a.md': 'a',
    '.git/config': 'git',
  });
  const ignore = ['.git', 'node_modules', '!node_modules/y', '**/*.test.ts', '*.md'];
  await place.copy({ sources: ['.'], destination: '/app' }, { ignore });
  assert.deepEqual(Object.keys(place.list('app')), [
    'docs/',
    'docs/a.md',
    'node_modules/',
    'node_modules/y/',
    'node_modules/y/index.js',
    'src/',
    'src/main.ts',
  ]);
});

test('COPY --exclude leaves out what is in the source, and files named themselves', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({ 'home.txt': 't', 'home.md': 'm', 'home/x.txt': 'x', 'home/deep/y.txt': 'y', 'home/z': 'z' });
  await place.copy({ sources: ['hom*'], destination: '/out/', exclude: ['*.txt'] });
  assert.deepEqual(Object.keys(place.list('out')), ['deep/', 'deep/y.txt', 'home.md', 'z']);
  await place.copy({ sources: ['home'], destination: '/two/', exclude: ['**/*.txt'] });
  assert.deepEqual(Object.keys(place.list('two')), ['deep/', 'z']);
});

test('COPY --parents keeps the folders of sources, from /./ on', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({ 'x/a.txt': 'a', 'y/a.txt': 'b', 'y/b.md': 'c', 'y/deep/c.txt': 'd' });
  chmodSync(join(place.source, 'x'), 0o700);
  await place.copy({ sources: ['./x/a.txt', './y/a.txt'], destination: '/one/', parents: true });
  assert.deepEqual(place.list('one'), { 'x/': '700', 'x/a.txt': '644 a', 'y/': '755', 'y/a.txt': '644 b' });
  await place.copy({ sources: ['y/./**/*.txt'], destination: '/two/', parents: true });
  assert.deepEqual(Object.keys(place.list('two')), ['a.txt', 'deep/', 'deep/c.txt']);
  await place.copy({ sources: ['y'], destination: '/three/', parents: true });
  assert.deepEqual(Object.keys(place.list('three')), ['y/', 'y/a.txt', 'y/b.md', 'y/deep/', 'y/deep/c.txt']);
  await assert.rejects(place.resolve({ sources: ['y/./none'], parents: true }), /source "y\/.\/none" is not in/);
});

test('COPY --chown takes names of the image, --chmod octal and symbolic modes', async (t) => {
  if (!requireRoot(t)) return;
  const passwd = 'root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n';
  await using place = openBuildPlace({ 'etc/passwd': passwd, 'etc/group': 'staff:x:50:\n' });
  place.write({ 'd/f': 'f', 'd/run': 'r', 'd/sub/g': 'g' });
  chmodSync(join(place.source, 'd/run'), 0o755);
  await place.copy({ sources: ['d'], destination: '/n/one', chown: 'app' });
  assert.deepEqual(place.list('n'), {
    'one/': '755 1000:1001',
    'one/f': '644 1000:1001 f',
    'one/run': '755 1000:1001 r',
    'one/sub/': '755 1000:1001',
    'one/sub/g': '644 1000:1001 g',
  });
  await place.copy({ sources: ['d/f'], destination: '/two', chown: 'app:staff', chmod: '0600' });
  await place.copy({ sources: ['d/f'], destination: '/three', chown: '7' });
  await place.copy({ sources: ['d/f'], destination: '/four', chown: '7:8' });
  await place.copy({ sources: ['d'], destination: '/five', chmod: 'go=,u+X' });
  const list = place.list();
  assert.equal(list['two'], '600 1000:50 f');
  assert.equal(list['three'], '644 7:7 f');
  assert.equal(list['four'], '644 7:8 f');
  assert.deepEqual(place.list('five'), { f: '600 f', run: '700 r', 'sub/': '700', 'sub/g': '600 g' });
  await assert.rejects(
    place.copy({ sources: ['d/f'], chown: 'nobody' }),
    /user "nobody" is not in the image's \/etc\/passwd/,
  );
  await assert.rejects(place.resolve({ sources: ['d/f'], chmod: '9' }), /invalid --chmod "9": want an octal number/);
  await assert.rejects(place.resolve({ sources: ['d/f'], chmod: 'u+q' }), /invalid --chmod/);
});

test('COPY of inline files', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  const file = { name: 'EOF', content: 'hello\nwörld\n' };
  const resolved = await place.copy({ files: [file], destination: '/greeting' });
  assert.equal(resolved.newestSeconds, undefined);
  await place.copy({ files: [file, { name: 'B', content: '' }], destination: '/in/', chmod: '755' });
  assert.deepEqual(place.list(), {
    greeting: '644 hello\nwÃ¶rld\n',
    'in/': '755',
    'in/B': '755 ',
    'in/EOF': '755 hello\nwÃ¶rld\n',
  });
  await assert.rejects(
    place.copy({ files: [{ name: '../x', content: '' }], destination: '/in/' }),
    /is no name for an inline/,
  );
});

test('COPY replaces files and links, and refuses to make a folder of a file or a file of a folder', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace({ 'd/file': 'file', 'd/folder/x': 'x', target: 'target' });
  symlinkSync('/target', join(place.root, 'd/link'));
  place.write({ 'one/link': 'new', 'two/folder': 'new', 'three/file/x': 'new', plain: 'plain' });
  await place.copy({ sources: ['one'], destination: '/d' });
  assert.equal(place.list()['d/link'], '644 new');
  assert.equal(place.list()['target'], '644 target');
  await assert.rejects(place.copy({ sources: ['two'], destination: '/d' }), {
    reason: 'Invalid',
    message: '/d/folder is a folder and cannot become a file',
  });
  await assert.rejects(place.copy({ sources: ['three'], destination: '/d' }), {
    reason: 'Invalid',
    message: '/d/file is no folder and cannot become one',
  });
  await assert.rejects(
    place.copy({ sources: ['plain'], destination: '/target/x' }),
    /\/target in the image is no folder/,
  );
  symlinkSync('/target', join(place.root, 'by-link'));
  await place.copy({ sources: ['plain'], destination: '/by-link' });
  assert.equal(place.list()['target'], '644 plain');
});

test('COPY --from of an image keeps owners, and follows links inside it alone', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({ 'usr/lib/x': 'x', 'etc/passwd': 'of the image' });
  lchownSync(join(place.source, 'usr/lib/x'), 5, 6);
  symlinkSync('/usr/lib', join(place.source, 'lib'));
  symlinkSync('../../../etc/passwd', join(place.source, 'usr/up'));
  const image = { isContext: false, label: 'stage "build"' };
  await place.copy({ sources: ['/lib/x', '../usr/up'], destination: '/o/' }, image);
  await place.copy({ sources: ['lib'], destination: '/p' }, image);
  assert.deepEqual(place.list('o'), { up: '644 of the image', x: '644 5:6 x' });
  assert.deepEqual(place.list('p'), { x: '644 5:6 x' });
  await assert.rejects(place.resolve({ sources: ['none'] }, image), /source "none" is not in stage "build"/);
});

test('the digest tells contents, names, modes and targets, and not times or owners of a context', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({ 'd/a': 'one', 'd/b': 'two' });
  symlinkSync('a', join(place.source, 'd/l'));
  const digest = async (): Promise<string> => (await place.resolve({ sources: ['d'] })).digest;
  const first = await digest();
  utimesSync(join(place.source, 'd/a'), 1, 1);
  lchownSync(join(place.source, 'd/a'), 9, 9);
  assert.equal(await digest(), first);
  const seen = new Set([first]);
  const changes: (() => void)[] = [
    () => writeFileSync(join(place.source, 'd/a'), 'One'),
    () => chmodSync(join(place.source, 'd/a'), 0o600),
    () => rmSync(join(place.source, 'd/l')),
    () => symlinkSync('b', join(place.source, 'd/l')),
    () => mkdirSync(join(place.source, 'd/e')),
    () => calls.lsetxattr(join(place.source, 'd/b'), 'user.x', Buffer.from('1')),
    () => linkSync(join(place.source, 'd/a'), join(place.source, 'd/z')),
  ];
  for (const change of changes) {
    change();
    seen.add(await digest());
  }
  assert.equal(seen.size, changes.length + 1);
});

test('a file that changes between looking and copying is a conflict, never a wrong copy', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({ 'd/a': 'one', 'd/gone': 'x' });
  const resolved = await place.resolve({ sources: ['d'], destination: '/d' });
  writeFileSync(join(place.source, 'd/a'), 'two');
  await assert.rejects(place.apply(resolved), { reason: 'Conflict' });
  const again = await place.resolve({ sources: ['d'], destination: '/d' });
  rmSync(join(place.source, 'd/gone'));
  await assert.rejects(place.apply(again), { reason: 'Conflict' });
  await place.copy({ sources: ['d'], destination: '/d' });
  assert.equal(place.list('d')['a'], '644 two');
});

test('many files and large ones go by way of threads, with the same result', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace({ 'app/d3/f7': 'below' });
  const files: Record<string, string> = {};
  for (let folder = 0; folder < 20; folder += 1) {
    for (let file = 0; file < 60; file += 1) files[`d${folder}/f${file}`] = `${folder} ${file}`;
  }
  place.write({ ...files, large: 'x'.repeat(9_000_000) });
  const resolved = await place.copy({ sources: ['.'], destination: '/app/', chown: '3:4' });
  assert.equal(resolved.entries, 1221);
  assert.equal(resolved.sizeBytes, 9_000_000 + Object.values(files).join('').length);
  const list = place.list('app');
  assert.equal(Object.keys(list).length, 1221);
  assert.equal(list['d3/f7'], '644 3:4 3 7');
  assert.equal(statSync(join(place.root, 'app/large')).size, 9_000_000);
  assert.equal((await place.resolve({ sources: ['.'], destination: '/app/' })).digest, resolved.digest);

  kernelMounts.unmount(place.root);
  const target = join(place.workDir, 'layer.tar');
  const { signal } = new AbortController();
  const layer = await place.files.writeLayer(place.upper, target, {
    clampSeconds: 1_600_000_000,
    flush: false,
    signal,
  });
  assert.equal(layer.entries, 1222);
  using sandbox = openLayerSandbox();
  sandbox.apply(readFileSync(target));
  assert.equal(sandbox.list()['app/d3/f7'], '644 3 7');

  const stop = new AbortController();
  const other = join(place.workDir, 'other.tar');
  const writing = place.files.writeLayer(place.upper, other, { signal: stop.signal });
  stop.abort(new Error('enough'));
  await assert.rejects(writing, /enough/);
  assert.equal(lstatSync(other, { throwIfNoEntry: false }), undefined);
});

test('names that are no text, and deep folders, are copied as they are', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  writeFileSync(Buffer.from(`${place.source}/caf\xe9`, 'latin1'), 'latin');
  writeFileSync(join(place.source, 'ünïcode'), 'utf8');
  mkdirSync(join(place.source, 'n/'.repeat(300)), { recursive: true });
  await place.copy({ sources: ['.'], destination: '/o' });
  const list = place.list('o');
  assert.equal(list['caf\xe9'], '644 latin');
  assert.equal(list[Buffer.from('ünïcode').toString('latin1')], '644 utf8');
  assert.equal(list['n/'.repeat(300)], '755');
  await place.copy({ sources: ['ünï*'], destination: '/p/' });
  assert.deepEqual(Object.keys(place.list('p')), [Buffer.from('ünïcode').toString('latin1')]);
});
