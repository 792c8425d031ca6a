import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { Context, ContextOptions } from '../../../../builder/files/builder-files.ts';
import { openContext } from '../../../../builder/files/open-context.ts';
import { openContentStore, type ContentStore } from '../../../../oci/content-store.ts';
import type { ContextSource } from '../../../../runtime-shim/images/image-builder.ts';
import { removeTree } from '../../../../runtime-shim/snapshots/remove-tree.ts';
import { openBuildPlace, writeTree } from '../../../support/build-place.ts';
import { makeTar } from '../../../support/images.ts';
import { requirePrograms, requireRoot } from '../../../support/require.ts';

interface Place extends AsyncDisposable {
  readonly folder: string;
  readonly workDir: string;
  readonly store: ContentStore;
  open(source: ContextSource, options?: Partial<ContextOptions>): Promise<Context>;
}

function makePlace(): Place {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'windlass-context-')));
  const workDir = join(folder, 'work');
  mkdirSync(workDir);
  const store = openContentStore(join(folder, 'store'));
  const { signal } = new AbortController();
  return {
    folder,
    workDir,
    store,
    open: (source, options) =>
      openContext(source, {
        ...{ dockerfile: 'Dockerfile', workDir, store, protect: () => undefined, signal },
        ...options,
      }),
    [Symbol.asyncDispose]: () => removeTree(folder),
  };
}

const inline = (files: Record<string, string>): ContextSource => ({
  kind: 'inline',
  files: new Map(Object.entries(files)),
});

test('an inline context has its files, and is gone once it is disposed of', async () => {
  await using place = makePlace();
  {
    await using context = await place.open(
      inline({ Dockerfile: 'FROM scratch\n', 'src/a': 'a', '.dockerignore': '*.md\n' }),
    );
    assert.deepEqual(context.dockerfile, { path: 'Dockerfile', text: 'FROM scratch\n' });
    assert.deepEqual(readdirSync(context.tree.root).toSorted(), ['.dockerignore', 'Dockerfile', 'src']);
    assert.deepEqual([context.tree.ignore, context.tree.ignoreFile], [['*.md'], '.dockerignore']);
  }
  assert.deepEqual(readdirSync(place.workDir), []);
});

test('a copy of an inline context depends on its files alone', async (t) => {
  if (!requireRoot(t)) return;
  await using place = makePlace();
  await using copies = openBuildPlace();
  const digests: string[] = [];
  for (let round = 0; round < 2; round += 1) {
    await using context = await place.open(inline({ Dockerfile: 'FROM scratch\n', a: 'a' }));
    const resolved = await copies.copy({ sources: ['a'], destination: '/o/' }, context.tree);
    assert.equal(resolved.newestSeconds, undefined);
    digests.push(resolved.digest);
  }
  assert.equal(digests[0], digests[1]);
  assert.deepEqual(copies.list('o'), { a: '644 a' });
});

test('a folder is used where it is', async () => {
  await using place = makePlace();
  const real = join(place.folder, 'real');
  writeTree(real, {
    'docker/web.Dockerfile': 'FROM a\n',
    '.dockerignore': 'b\n',
    'docker/web.Dockerfile.dockerignore': 'c\n',
  });
  symlinkSync(real, join(place.folder, 'link'));
  await using context = await place.open(
    { kind: 'folder', path: join(place.folder, 'link') },
    { dockerfile: 'docker/web.Dockerfile' },
  );
  assert.equal(context.tree.root, real);
  assert.equal(context.dockerfile.text, 'FROM a\n');
  assert.deepEqual([context.tree.ignore, context.tree.ignoreFile], [['c'], 'docker/web.Dockerfile.dockerignore']);
  await using other = await place.open({ kind: 'folder', path: real }, { dockerfileInline: 'FROM b\n' });
  assert.equal(other.dockerfile.text, 'FROM b\n');
  assert.deepEqual(other.tree.ignore, ['b']);
});

test('an archive in the content store is unpacked, whatever it is packed with', async (t) => {
  if (!requireRoot(t)) return;
  await using place = makePlace();
  const tar = makeTar([
    { name: './Dockerfile', content: 'FROM scratch\n' },
    { name: './.wh.file', content: 'no whiteout', uid: 1000, gid: 1000 },
  ]);
  const large = makeTar([
    { name: 'Dockerfile', content: 'FROM scratch\n' },
    { name: 'large', content: Buffer.alloc(9_000_000) },
  ]);
  for (const bytes of [tar, gzipSync(tar), zstdCompressSync(tar), gzipSync(large)]) {
    const digest = await place.store.put(bytes);
    await using context = await place.open({ kind: 'archive', digest });
    assert.equal(context.dockerfile.text, 'FROM scratch\n');
    assert.equal(readdirSync(context.tree.root).length, 2);
  }
  assert.deepEqual(readdirSync(place.workDir), []);
});

test('an archive is protected before it is looked for, so that a sweep leaves it alone', async (t) => {
  if (!requireRoot(t)) return;
  await using place = makePlace();
  const digest = await place.store.put(makeTar([{ name: 'Dockerfile', content: 'FROM scratch\n' }]));
  const other = await place.store.put(Buffer.from('other'));
  const swept: Promise<unknown>[] = [];
  const protect = (wanted: string): void => void swept.push(place.store.sweep((found) => found === wanted));
  await using context = await place.open({ kind: 'archive', digest }, { protect });
  assert.equal(swept.length, 1);
  await swept[0];
  assert.equal(context.dockerfile.text, 'FROM scratch\n');
  assert.deepEqual([place.store.has(digest), place.store.has(other)], [true, false]);
});

test('a repository is a context at one commit, from a folder of it', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'git')) return;
  await using place = makePlace();
  const repository = join(place.folder, 'repository');
  writeTree(repository, { 'app/Dockerfile': 'FROM one\n', 'app/x': 'x', Dockerfile: 'FROM top\n' });
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', repository, '-c', 'user.name=x', '-c', 'user.email=x@example.com', ...args], {
      encoding: 'utf8',
      env: { ...process.env, GIT_COMMITTER_DATE: '2020-01-01T00:00:00Z', GIT_CONFIG_NOSYSTEM: '1', HOME: place.folder },
    }).trim();
  git('init', '--quiet', '-b', 'main');
  git('add', '.');
  git('commit', '--quiet', '-m', 'one');
  const first = git('rev-parse', 'HEAD');
  git('tag', 'v1');
  writeFileSync(join(repository, 'Dockerfile'), 'FROM later\n');
  git('commit', '--quiet', '-am', 'two');
  const head = git('rev-parse', 'HEAD');
  const open = async (suffix: string): Promise<[string | undefined, string]> => {
    await using context = await place.open({ kind: 'git', url: `${repository}${suffix}` });
    assert.equal(context.tree.times, Date.parse('2020-01-01T00:00:00Z') / 1000);
    assert.equal(readdirSync(context.tree.root).includes('.git'), false);
    return [context.commit, context.dockerfile.text];
  };
  assert.deepEqual(await open(''), [head, 'FROM later\n']);
  assert.deepEqual(await open('#v1'), [first, 'FROM top\n']);
  assert.deepEqual(await open(`#${first}`), [first, 'FROM top\n']);
  assert.deepEqual(await open('#refs/heads/main:app'), [head, 'FROM one\n']);
  assert.deepEqual(await open('#:/app/'), [head, 'FROM one\n']);
  await assert.rejects(open('#v2'), { reason: 'Invalid', message: /there is no "v2"/ });
  await assert.rejects(open('#main:app/x'), /there is no folder "app\/x"/);
  assert.deepEqual(readdirSync(place.workDir), []);
  const stop = new AbortController();
  stop.abort(new Error('enough'));
  await assert.rejects(place.open({ kind: 'git', url: repository }, { signal: stop.signal }), /enough/);
  assert.deepEqual(readdirSync(place.workDir), []);
});

test('a context that cannot be used says what is wrong', async () => {
  await using place = makePlace();
  const refused = async (source: ContextSource, error: object, options = {}): Promise<void> => {
    await assert.rejects(place.open(source, options), error);
  };
  await refused(inline({ a: '', b: '' }), {
    reason: 'NotFound',
    message: 'Dockerfile "Dockerfile" is not in the build context, which has a, b',
  });
  await refused(
    inline({}),
    { message: 'Dockerfile "x" is not in the build context, which is empty' },
    { dockerfile: 'x' },
  );
  await refused(inline({ 'Dockerfile/x': '' }), {
    reason: 'Invalid',
    message: /Dockerfile in the build context is not a file/,
  });
  await refused(inline({ a: '', 'a/b': '' }), {
    reason: 'Invalid',
    message: 'inline file "a/b" is both a file and a folder',
  });
  await refused(inline({ Dockerfile: '', '.dockerignore': 'a\n[b\n' }), {
    reason: 'Invalid',
    message: /^.dockerignore: invalid pattern "\[b"/,
  });
  await refused({ kind: 'folder', path: 'relative' }, { reason: 'Invalid', message: /want an absolute path/ });
  await refused({ kind: 'folder', path: join(place.folder, 'none') }, { reason: 'NotFound' });
  await refused({ kind: 'archive', digest: 'sha256:x' }, { reason: 'Invalid' });
  await refused(
    { kind: 'archive', digest: `sha256:${'0'.repeat(64)}` },
    { reason: 'NotFound', message: /is not in the content store/ },
  );
  const cut = await place.store.put(makeTar([{ name: 'a', content: 'x'.repeat(2000) }]).subarray(0, 1500));
  await refused({ kind: 'archive', digest: cut }, { reason: 'Invalid', message: /^context archive sha256:.*cut off/ });
  const folder = join(place.folder, 'bad');
  mkdirSync(folder);
  writeFileSync(join(folder, 'Dockerfile'), Buffer.from('FROM a\nRUN \xe9\n', 'latin1'));
  await refused(
    { kind: 'folder', path: folder },
    {
      message: 'Dockerfile:2:5: it is not UTF-8',
      details: { position: { file: 'Dockerfile', line: 2, column: 5 } },
    },
  );
  assert.deepEqual(readdirSync(place.workDir), []);
});
