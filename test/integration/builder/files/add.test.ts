import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { lstatSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { openBuildPlace } from '../../../support/build-place.ts';
import { makeTar } from '../../../support/images.ts';
import { requirePrograms, requireRoot } from '../../../support/require.ts';

const TAR = makeTar([
  { name: 'bin/', type: 'directory', mode: 0o700 },
  { name: 'bin/tool', content: 'tool', mode: 0o4755, uid: 5, gid: 6, mtime: { seconds: 1000, nanoseconds: 0 } },
  { name: 'etc/deep/conf', content: 'conf' },
  { name: '.wh.kept', content: 'a file like any other' },
  { name: 'link', type: 'symlink', linkName: 'bin/tool' },
  { name: 'twin', type: 'hardlink', linkName: 'bin/tool' },
]);

const UNPACKED = {
  '.wh.kept': '644 a file like any other',
  'bin/': '700',
  'bin/tool': '4755 5:6 tool',
  'etc/': '755',
  'etc/deep/': '755',
  'etc/deep/conf': '644 conf',
  link: '-> bin/tool',
  twin: '4755 5:6 tool',
};

test('ADD unpacks tar archives, packed in any of the usual ways', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'bzip2', 'xz')) return;
  await using place = openBuildPlace();
  const packed = {
    'a.tar': TAR,
    'a.tar.gz': gzipSync(TAR),
    'a.tar.zst': zstdCompressSync(TAR),
    'a.tar.bz2': execFileSync('bzip2', ['-c'], { input: TAR }),
    'a.tar.xz': execFileSync('xz', ['-c'], { input: TAR }),
  };
  for (const [name, bytes] of Object.entries(packed)) {
    writeFileSync(join(place.source, name), bytes);
    await place.copy({ instruction: 'ADD', sources: [name], destination: `/${name}/out` });
    assert.deepEqual(place.list(`${name}/out`), UNPACKED, name);
  }
  await place.copy({ sources: ['a.tar'], destination: '/copied' });
  assert.equal(lstatSync(join(place.root, 'copied')).size, TAR.length);
  await place.copy({ instruction: 'ADD', unpack: false, sources: ['a.tar'], destination: '/added' });
  assert.equal(lstatSync(join(place.root, 'added')).size, TAR.length);
  await place.copy({ instruction: 'ADD', sources: ['a.tar'], destination: '/owned/', chown: '9:9' });
  assert.equal(place.list('owned')['bin/tool'], '4755 9:9 tool');
  assert.deepEqual(
    readdirSync(place.workDir).filter((name) => name.startsWith('unpack-')),
    [],
    'what was unpacked is gone once it is copied',
  );
});

test('ADD copies what is no archive', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  writeFileSync(join(place.source, 'page.gz'), gzipSync('a page'));
  place.write({ 'plain.txt': 'plain', 'empty.tar': '' });
  await place.copy({ instruction: 'ADD', sources: ['page.gz', 'plain.txt', 'empty.tar'], destination: '/o/' });
  assert.deepEqual(Object.keys(place.list('o')), ['empty.tar', 'page.gz', 'plain.txt']);
});

test('ADD of an archive replaces what has the names of its entries, and goes through links for folders it only implies', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace({ 'usr/bin/old': 'old', 'opt/x': 'file' });
  symlinkSync('usr/bin', join(place.root, 'bin'));
  const tar = makeTar([
    { name: 'bin/new', content: 'new' },
    { name: 'opt/x/', type: 'directory' },
  ]);
  writeFileSync(join(place.source, 'root.tar'), tar);
  await place.copy({ instruction: 'ADD', sources: ['root.tar'], destination: '/' });
  assert.deepEqual(place.list(), {
    bin: '-> usr/bin',
    'opt/': '755',
    'opt/x/': '755',
    'usr/': '755',
    'usr/bin/': '755',
    'usr/bin/new': '644 new',
    'usr/bin/old': '644 old',
  });
});

test('a damaged archive is an error that names it', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'xz')) return;
  await using place = openBuildPlace();
  const noise = randomBytes(50_000);
  const tar = makeTar([{ name: 'noise', content: noise }]);
  writeFileSync(join(place.source, 'cut.tar.gz'), gzipSync(tar).subarray(0, -1000));
  writeFileSync(join(place.source, 'cut.tar'), tar.subarray(0, 20_000));
  writeFileSync(join(place.source, 'cut.tar.xz'), execFileSync('xz', ['-c'], { input: tar }).subarray(0, -1000));
  for (const name of ['cut.tar.gz', 'cut.tar', 'cut.tar.xz']) {
    const error = { reason: 'Invalid', message: new RegExp(`^archive ${name}: `) };
    await assert.rejects(place.copy({ instruction: 'ADD', sources: [name], destination: '/x/' }), error);
  }
});

async function serve(
  t: { after(work: () => Promise<unknown>): void },
  files: Record<string, () => string>,
): Promise<string> {
  const server: Server = createServer((request, response) => {
    const body = files[request.url ?? '']?.();
    if (body === undefined) return void response.writeHead(404).end('none');
    if (body.startsWith('http')) return void response.writeHead(302, { location: body }).end();
    response.writeHead(200, { 'last-modified': 'Wed, 21 Oct 2015 07:28:00 GMT' }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('ADD of a URL: name, mode, time, checksum, redirects', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  const at = await serve(t, {
    '/dir/file%20name.txt?x=1': () => 'content',
    '/plain': () => 'content',
    '/a.tar': () => 'not unpacked',
    '/moved': () => `${at}/plain`,
    '/loop': () => `${at}/loop`,
  });
  await place.copy({ instruction: 'ADD', sources: [`${at}/dir/file%20name.txt?x=1`], destination: '/d/' });
  assert.deepEqual(place.list('d'), { 'file name.txt': '600 content' });
  assert.equal(lstatSync(join(place.root, 'd/file name.txt')).mtimeMs, Date.parse('2015-10-21T07:28:00Z'));
  const checksum = `sha256:${createHash('sha256').update('content').digest('hex')}`;
  await place.copy({ instruction: 'ADD', sources: [`${at}/moved`], destination: '/e', checksum, chmod: '644' });
  assert.equal(place.list()['e'], '644 content');
  const wrong = checksum.replace(/.$/, (last) => (last === '0' ? '1' : '0'));
  const add = (path: string, words = {}): Promise<unknown> =>
    place.copy({ instruction: 'ADD', sources: [`${at}${path}`], destination: '/f', ...words });
  await assert.rejects(add('/plain', { checksum: wrong }), { reason: 'Invalid', message: /it has digest .*, want / });
  await assert.rejects(add('/none'), {
    reason: 'Invalid',
    message: /failed to fetch .*\/none: the server answered 404/,
  });
  await assert.rejects(add('/loop'), /more than 10 redirects/);
  await assert.rejects(add('/', { destination: '/f/' }), /has no file name/);
  await assert.rejects(add('/plain', { instruction: 'COPY' }), /only ADD fetches/);
  assert.equal(place.list()['f'], undefined);
});

test('ADD of a repository, at a commit, from a folder of it', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'git')) return;
  await using place = openBuildPlace();
  const bare = join(place.folder, 'served/repo.git');
  mkdirSync(bare, { recursive: true });
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', place.source, '-c', 'user.name=x', '-c', 'user.email=x@example.com', ...args], {
      encoding: 'utf8',
      env: { ...process.env, GIT_COMMITTER_DATE: '2020-01-01T00:00:00Z', GIT_CONFIG_NOSYSTEM: '1', HOME: place.folder },
    }).trim();
  place.write({ top: 'top', 'sub/run.sh': 'run', '.gitattributes': '* filter=evil\n' });
  git('init', '--quiet', '-b', 'main');
  git('add', '.');
  git('update-index', '--chmod=+x', 'sub/run.sh');
  git('commit', '--quiet', '-m', 'one');
  execFileSync('git', ['clone', '--quiet', '--bare', place.source, bare], {
    stdio: 'ignore',
    env: { ...process.env, HOME: place.folder },
  });
  execFileSync('git', ['-C', bare, 'update-server-info']);
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? '').split('?')[0] ?? '');
    try {
      response.end(execFileSync('cat', [join(place.folder, 'served', path)], { stdio: ['ignore', 'pipe', 'ignore'] }));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/repo.git`;
  const commit = git('rev-parse', 'HEAD');
  const add = (source: string, words = {}): Promise<{ newestSeconds: number | undefined }> =>
    place.copy({ instruction: 'ADD', sources: [source], destination: '/r/', ...words });
  await add(`${url}#main:sub`, { checksum: commit });
  assert.deepEqual(place.list('r'), { 'run.sh': '755 run' });
  const { newestSeconds } = await add(url, { destination: '/all/' });
  assert.equal(newestSeconds, Date.parse('2020-01-01T00:00:00Z') / 1000);
  assert.deepEqual(Object.keys(place.list('all')), ['.gitattributes', 'sub/', 'sub/run.sh', 'top']);
  // By a name, whose addresses git is given.
  await add(url.replace('127.0.0.1', 'localhost'), { destination: '/named/' });
  assert.deepEqual(place.list('named'), place.list('all'));
  await assert.rejects(add(`${url}#none`), /there is no "none"/);
  await assert.rejects(add(`${url}#main:none`), /there is no folder "none"/);
  await assert.rejects(add(url, { checksum: '0'.repeat(40) }), /want 0000/);
});
