// Inputs that broke builders before, against the file side of a build. Nothing outside may be read or changed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { CopyPlan } from '../../../../builder/files/copy-plan.ts';
import { openContext } from '../../../../builder/files/open-context.ts';
import { openContentStore } from '../../../../oci/content-store.ts';
import type { ContextSource } from '../../../../runtime-shim/images/image-builder.ts';
import { openBuildPlace, type BuildPlace } from '../../../support/build-place.ts';
import { makeTar, type TarItem } from '../../../support/images.ts';
import { requirePrograms, requireRoot } from '../../../support/require.ts';

const { signal } = new AbortController();
const protect = (): void => undefined;

test('build: context: a .dockerignore that hides the Dockerfile', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({ Dockerfile: 'FROM scratch\n', '.dockerignore': '*\n', a: 'a' });
  const store = openContentStore(join(place.folder, 'store'));
  const source: ContextSource = { kind: 'folder', path: place.source };
  await using context = await openContext(source, {
    dockerfile: 'Dockerfile',
    workDir: place.workDir,
    store,
    protect,
    signal,
  });
  assert.equal(context.dockerfile.text, 'FROM scratch\n');
  for (const sources of [['Dockerfile'], ['a']]) {
    await assert.rejects(
      place.resolve({ sources }, context.tree),
      /is not in the build context: it is left out by .dockerignore/,
    );
  }
});

test('build: context: links out of it', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  const link = (target: string, name: string): void => symlinkSync(target, join(place.source, name));
  place.write({ 'd/': '' });
  link('../secret', 'up');
  link('../../../../../../../../../..' + join(place.folder, 'secret'), 'far-up');
  link(join(place.folder, 'secret'), 'absolute');
  link('/', 'd/root');
  link('up', 'twice');
  link('loop', 'loop');
  for (const source of ['up', 'far-up', 'twice']) {
    await assert.rejects(place.resolve({ sources: [source] }), {
      reason: 'Invalid',
      message: `source ${JSON.stringify(source)} is a link that leads out of the build context`,
    });
  }
  // An absolute link starts at the root of the context, as it will in the image.
  await assert.rejects(place.resolve({ sources: ['absolute'] }), /source "absolute" is not in the build context/);
  await assert.rejects(place.resolve({ sources: [`d/root${place.folder}/secret`] }), /is not in the build context/);
  await assert.rejects(place.resolve({ sources: ['loop'] }), /too many links in source "loop"/);
  // Within a folder links are copied as links.
  await place.copy({ sources: ['d'], destination: '/d' });
  assert.deepEqual(place.list('d'), { root: '-> /' });
  const store = openContentStore(join(place.folder, 'store'));
  const source: ContextSource = { kind: 'folder', path: place.source };
  for (const dockerfile of ['up', 'far-up', 'absolute', '../secret', '../source/d']) {
    await assert.rejects(
      openContext(source, { dockerfile, workDir: place.workDir, store, protect, signal }),
      dockerfile,
    );
  }
});

test('build: context: COPY of a path above it', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({ 'a/b': 'b' });
  for (const source of ['../secret', 'a/../../secret', '/../secret', '..', 'a/../..']) {
    await assert.rejects(place.resolve({ sources: [source] }), {
      reason: 'Invalid',
      message: `source ${JSON.stringify(source)} is outside of the build context`,
    });
    await assert.rejects(place.resolve({ sources: [source], parents: true }), { reason: 'Invalid' }, source);
  }
  await assert.rejects(place.resolve({ sources: ['a\0b'] }), /holds a NUL/);
});

test('build: context: git addresses with options, commands and paths in them', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  const store = openContentStore(join(place.folder, 'store'));
  const repository = 'https://git.invalid/x.git';
  const urls = [
    `${repository}#--upload-pack=touch /tmp/windlass-escape`,
    `${repository}#--upload-pack=x`,
    `${repository}#-x`,
    `${repository}#a..b`,
    `${repository}#a:../../etc`,
    `${repository}#a:b/../../..`,
    `${repository}#a:.git`,
    `${repository}#a:x/.git/hooks`,
    `${repository}#@{-1}`,
    `${repository}#a^{/x}`,
    `${repository}?ref=--x`,
    'ssh://-oProxyCommand=touch/x',
    'ssh://-oProxyCommand=touch@host/x',
    '-oProxyCommand=x@host:path',
    'git@-oProxyCommand=x:path',
    'git@host:-path',
    'ssh://host/-path',
    'ext::sh -c touch% /tmp/windlass-escape',
    'ext::sh',
    '--upload-pack=x',
    'fd::17',
    'relative/path',
    'ftp://host/x.git',
    'https:///x.git',
    'http://169.254.169.254/x.git',
    'git@169.254.169.254:x',
    'git@2852039166:x',
    'ssh://0xa9fea9fe/x',
    'git://2852039166/x',
    "ssh://a'$(touch${IFS}escape)'/x",
  ];
  for (const url of urls) {
    const opening = openContext(
      { kind: 'git', url },
      { dockerfile: 'Dockerfile', workDir: place.workDir, store, protect, signal },
    );
    await assert.rejects(opening, ({ reason }) => reason === 'Invalid' || reason === 'Forbidden', url);
  }
  assert.deepEqual(readdirSync(place.workDir), []);
  assert.equal(existsSync('/tmp/windlass-escape'), false);
});

test('build: context: git over ssh has no keys, no agent, no configuration, and goes where was looked', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'git', 'ssh')) return;
  await using place = openBuildPlace();
  const store = openContentStore(join(place.folder, 'store'));
  const { PATH = '', SSH_AUTH_SOCK } = process.env;
  const seen = join(place.folder, 'seen');
  const bin = join(place.folder, 'bin');
  mkdirSync(bin);
  // The real program says what it would do.
  const script = `#!/bin/sh\nPATH='${PATH}'\nssh -G "$@" > '${seen}'\nenv | grep ^SSH_AUTH_SOCK >> '${seen}'\nexit 1\n`;
  writeFileSync(join(bin, 'ssh'), script, { mode: 0o755 });
  process.env['PATH'] = `${bin}:${PATH}`;
  process.env['SSH_AUTH_SOCK'] = join(place.folder, 'agent');
  try {
    const opening = openContext(
      { kind: 'git', url: 'git@localhost:x.git' },
      { dockerfile: 'Dockerfile', workDir: place.workDir, store, protect, signal },
    );
    await assert.rejects(opening, { reason: 'Unavailable' });
  } finally {
    process.env['PATH'] = PATH;
    if (SSH_AUTH_SOCK === undefined) delete process.env['SSH_AUTH_SOCK'];
    else process.env['SSH_AUTH_SOCK'] = SSH_AUTH_SOCK;
  }
  const settings = readFileSync(seen, 'utf8');
  for (const line of [
    'user git',
    'identityfile none',
    'identityagent none',
    'pubkeyauthentication false',
    'hostbasedauthentication no',
    'gssapiauthentication no',
    'userknownhostsfile none',
    'updatehostkeys false',
    'hostkeyalias localhost',
    'batchmode yes',
  ]) {
    assert.ok(settings.split('\n').includes(line), `${line} in\n${settings}`);
  }
  assert.match(settings, /^hostname (127\.0\.0\.1|::1)$/m);
  assert.doesNotMatch(settings, /SSH_AUTH_SOCK/);
});

test('build: context: ADD from link-local and file URLs', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  const refused = [
    ['http://169.254.169.254/latest/meta-data/', 'Forbidden'],
    ['http://[fe80::1]/x', 'Forbidden'],
    ['http://[::ffff:169.254.169.254]/x', 'Forbidden'],
    ['http://[::ffff:a9fe:a9fe]/x', 'Forbidden'],
    ['http://[64:ff9b::169.254.169.254]/x', 'Forbidden'],
    ['http://[fd00:ec2::254]/x', 'Forbidden'],
    ['http://2852039166/x', 'Forbidden'],
    ['http://0xa9.0xfe.0xa9.0xfe/x', 'Forbidden'],
    ['file:///etc/passwd', 'Invalid'],
    ['FILE:///etc/passwd', 'Invalid'],
    ['ftp://example.com/x', 'Invalid'],
    [`${place.source}/.git`, 'Invalid'],
    ['http://', 'Invalid'],
  ] as const;
  for (const [source, reason] of refused) {
    await assert.rejects(
      place.resolve({ instruction: 'ADD', sources: [source], destination: '/x' }),
      { reason },
      source,
    );
  }
});

test('build: context: an ADD that is redirected to where it may not go', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  const targets = ['http://169.254.169.254/x', 'file:///etc/passwd', 'http://[fe80::1]/'];
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(302, { location: targets[Number(request.url?.slice(1))] ?? '/loop' }).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => new Promise((resolve) => server.close(resolve)));
  const { port } = server.address() as AddressInfo;
  for (const index of targets.keys()) {
    const url = `http://127.0.0.1:${port}/${index}`;
    await assert.rejects(place.resolve({ instruction: 'ADD', sources: [url], destination: '/x' }), {
      reason: 'Forbidden',
    });
  }
  const secret = `http://user:hunter2@127.0.0.1:${port}/loop`;
  await assert.rejects(place.resolve({ instruction: 'ADD', sources: [secret], destination: '/x' }), ({ message }) => {
    assert.match(message, /more than 10 redirects/);
    assert.doesNotMatch(message, /hunter2/);
    return true;
  });
  assert.equal(seen.at(-1), `Basic ${Buffer.from('user:hunter2').toString('base64')}`);
});

test('build: context: an ADD whose checksum is another', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({ a: 'a' });
  const checksum = `sha256:${'0'.repeat(64)}`;
  await assert.rejects(place.resolve({ instruction: 'ADD', sources: ['a'], checksum }), /a checksum is of a URL/);
  const url = 'https://host.invalid/x';
  for (const bad of ['md5:x', 'sha256:xyz', '0'.repeat(64)]) {
    await assert.rejects(
      place.resolve({ instruction: 'ADD', sources: [url], destination: '/x', checksum: bad }),
      { reason: 'Invalid', message: /invalid digest/ },
      bad,
    );
  }
});

async function addTar(place: BuildPlace, items: readonly TarItem[], destination = '/in/'): Promise<void> {
  writeFileSync(join(place.source, 'x.tar'), makeTar(items));
  await place.copy({ instruction: 'ADD', sources: ['x.tar'], destination });
}

test('tar: parent escape, by ADD', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  for (const name of ['../x', 'a/../../x', '../../../../../../../../tmp/windlass-escape']) {
    await assert.rejects(
      addTar(place, [{ name, content: 'x' }]),
      { reason: 'Invalid', message: /leaves the root/ },
      name,
    );
  }
  await addTar(place, [
    { name: '/abs', content: 'x' },
    { name: 'b\\c', content: 'y' },
  ]);
  assert.deepEqual(place.list(), { 'in/': '755', 'in/abs': '644 x', 'in/b\\c': '644 y' });
  assert.equal(existsSync('/tmp/windlass-escape'), false);
});

test('tar: link tricks, by ADD', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace({ 'etc/passwd': 'image' });
  symlinkSync(place.folder, join(place.root, 'out'));
  symlinkSync('../../../../../../../../../..' + place.folder, join(place.root, 'up'));
  const link = (name: string, linkName: string): TarItem => ({ name, type: 'symlink', linkName });
  await addTar(place, [link('l', place.folder), { name: 'l/secret', content: 'evil' }], '/');
  await addTar(
    place,
    [
      { name: 'out/secret', content: 'evil' },
      { name: 'up/secret', content: 'evil' },
    ],
    '/',
  );
  await addTar(place, [link('m', '../../../..'), { name: 'm/etc/passwd', content: 'inside' }], '/');
  await assert.rejects(addTar(place, [{ name: 'h', type: 'hardlink', linkName: `../../..${place.folder}/secret` }]));
  await assert.rejects(addTar(place, [link('s', '/etc/passwd'), { name: 'h', type: 'hardlink', linkName: 's/x' }]));
  assert.equal(place.secret(), 'untouched');
  assert.equal(lstatSync(join(place.folder, 'secret')).nlink, 1);
});

test('tar: whiteout tricks and odd entries, by ADD', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace({ 'in/kept': 'kept', 'in/d/kept': 'kept' });
  await addTar(place, [
    { name: '.wh.kept', content: '' },
    { name: 'd/.wh..wh..opq', content: '' },
    { name: '.wh..wh.x', content: 'x' },
    { name: 'twice', content: '1' },
    { name: 'twice', content: '2' },
    { name: 'p', type: 'fifo' },
  ]);
  assert.equal(place.list()['in/kept'], '644 kept');
  assert.equal(place.list()['in/d/kept'], '644 kept');
  assert.equal(place.list()['in/twice'], '644 2');
  await assert.rejects(addTar(place, [{ name: 'n', type: 'char', major: 0, minor: 0 }]), /takes for a whiteout/);
  await assert.rejects(addTar(place, [{ name: 'a'.repeat(300), content: '' }]), /is too long/);
});

test('links in the image never lead a copy out of it', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  const up = '../../../../../../../../../..';
  symlinkSync(place.folder, join(place.root, 'absolute'));
  symlinkSync(`${up}${place.folder}`, join(place.root, 'relative'));
  symlinkSync(`${up}${place.folder}/secret`, join(place.root, 'file'));
  symlinkSync('round', join(place.root, 'round'));
  place.write({ secret: 'evil', 'd/secret': 'evil' });
  for (const destination of [
    '/absolute/secret',
    '/relative/',
    '/absolute',
    '/file',
    `/${up}/absolute/secret`,
    '/relative/new/deep/',
  ]) {
    await place.copy({ sources: ['secret'], destination });
    await place.copy({ sources: ['d'], destination: `${destination.replace(/\/$/, '')}-d/../relative/` });
  }
  await place.copy({ files: [{ name: 'secret', content: 'evil' }], destination: '/relative/' });
  await assert.rejects(place.copy({ sources: ['secret'], destination: '/round/x' }), /too many links/);
  // The names of users are looked up inside as well.
  mkdirSync(join(place.root, 'etc'));
  writeFileSync(join(place.folder, 'passwd'), 'daemon:x:1:1::/:/bin/sh\n');
  symlinkSync(`${up}${place.folder}/passwd`, join(place.root, 'etc/passwd'));
  await assert.rejects(
    place.copy({ sources: ['secret'], destination: '/n', chown: 'daemon' }),
    /not in the image's \/etc\/passwd/,
  );
  assert.equal(place.secret(), 'untouched');
  const beside = ['lower', 'overlay', 'passwd', 'root', 'secret', 'source', 'upper', 'work'];
  assert.deepEqual(readdirSync(place.folder).toSorted(), beside);
});

test('build: context: folders and files that are swapped for links while they are read (TOCTOU)', async (t) => {
  if (!requireRoot(t)) return;
  await using place = openBuildPlace();
  place.write({ 'd/secret': 'inside', 'd/e/secret': 'inside', f: 'inside' });
  mkdirSync(join(place.folder, 'e'));
  writeFileSync(join(place.folder, 'e/secret'), 'untouched');
  const script = `cd "$1"; while :; do
    mv d real; ln -s .. d; rm d; mv real d
    mv d/e d/real; ln -s ../../e d/e; rm d/e; mv d/real d/e
    mv f real; ln -s ../secret f; rm f; mv real f
  done`;
  const swapping = spawn('sh', ['-c', script, 'sh', place.source], { stdio: 'ignore' });
  try {
    const outside = createHash('sha256').update('untouched').digest('hex');
    let copied = 0;
    for (const end = Date.now() + 3000; Date.now() < end;) {
      try {
        const resolved = await place.resolve({ sources: ['d', 'f', '*'], destination: '/o/' });
        for (const { entries } of (resolved.plan as CopyPlan).sources) {
          assert.equal(
            entries.some(({ sha256 }) => sha256 === outside),
            false,
          );
        }
        await place.apply(resolved);
        copied += 1;
      } catch (error) {
        if (!['Invalid', 'Conflict'].includes(String((error as { reason?: string }).reason))) throw error;
      }
    }
    t.diagnostic(`${copied} copies were whole`);
    if (existsSync(join(place.root, 'o'))) {
      assert.equal(
        Object.values(place.list('o')).some((text) => text.includes('untouched')),
        false,
      );
    }
  } finally {
    swapping.kill('SIGKILL');
    await once(swapping, 'exit');
  }
});
