import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { WindlassError } from '../../../lib/errors.ts';
import { mountTmpfs, readMounts, umount, MNT } from '../../../runtime-shim/host/mount.ts';
import {
  makeBusyboxImage,
  makeImage,
  makeTar,
  writeDockerArchive,
  writeOciLayout,
  writeTar,
  type TarItem,
} from '../../support/images.ts';
import { openTestImages } from '../../support/image-service.ts';
import { startBadRegistry } from '../../support/registry.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const signal = new AbortController().signal;
const isMounted = (path: string): boolean => readMounts().some(({ target }) => target === path);

test('import() takes every form: rootfs tar (plain, gzip, zstd), folder, OCI layout (folder, tar), docker-archive', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  const input = join(images.home, 'in');
  const files: TarItem[] = [
    { name: 'etc/', type: 'directory', mode: 0o711 },
    { name: 'etc/motd', content: 'hello', uid: 7 },
  ];
  const image = makeImage({ layers: [files], config: { Cmd: ['x'] } });
  writeTar(join(input, 'root.tar'), files);
  writeFileSync(join(input, 'root.tgz'), gzipSync(makeTar(files)));
  writeFileSync(join(input, 'root.tzst'), zstdCompressSync(makeTar(files)));
  mkdirSync(join(input, 'folder'));
  execFileSync('tar', ['-xf', join(input, 'root.tar'), '-C', join(input, 'folder')]);
  writeOciLayout(join(input, 'layout'), image, 'example.com/in/layout:5');
  execFileSync('tar', ['-cf', join(input, 'layout.tar'), '-C', join(input, 'layout'), '.']);
  writeDockerArchive(join(input, 'docker.tar'), image, ['shop/web:1', 'shop/web:2']);
  const forms: Record<string, string[]> = {
    'root.tar': [],
    'root.tgz': [],
    'root.tzst': [],
    folder: [],
    layout: ['example.com/in/layout:5'],
    'layout.tar': ['example.com/in/layout:5'],
    'docker.tar': ['docker.io/shop/web:1', 'docker.io/shop/web:2'],
  };
  for (const [form, names] of Object.entries(forms)) {
    const isRoot = names.length === 0;
    const record = await images.service.import(join(input, form), {
      references: isRoot ? [`in/${form.replace('.', '-')}`] : [],
      ...(isRoot ? { config: { Cmd: ['x'], User: '7' } } : {}),
      signal,
    });
    assert.deepEqual(record.config.config.Cmd, ['x'], form);
    if (!isRoot) for (const name of names) assert.ok(record.repoTags.includes(name), `${form}: ${name}`);
    else assert.ok(record.repoTags.includes(`docker.io/in/${form.replace('.', '-')}:latest`), form);
    const root = await images.service.prepareRootFilesystem(`c-${form}`, record);
    assert.equal(readFileSync(join(root.path, 'etc/motd'), 'utf8'), 'hello', form);
    assert.equal(lstatSync(join(root.path, 'etc/motd')).uid, 7, form);
    assert.equal(lstatSync(join(root.path, 'etc')).mode & 0o777, 0o711, form);
  }
  const tarId = images.service.find('in/root-tar')?.id;
  assert.equal(images.service.find('in/root-tgz')?.id, tarId);
  assert.equal(images.service.find('in/root-tzst')?.id, tarId);
});

test('import() says what is wrong with a path that holds no image', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  const path = (name: string): string => join(images.home, name);
  writeFileSync(path('text'), 'not a tar, but long enough to be read as one'.repeat(50));
  writeFileSync(path('cut.tar'), makeTar([{ name: 'a', content: 'x'.repeat(3000) }]).subarray(0, 2000));
  writeTar(path('bad-docker.tar'), [{ name: 'manifest.json', content: '[{"Config": 7}]' }]);
  writeTar(path('no-layer.tar'), [
    { name: 'manifest.json', content: '[{"Config":"c.json","Layers":["../../etc/passwd"]}]' },
    { name: 'c.json', content: '{}' },
  ]);
  writeTar(path('escape.tar'), [{ name: '../../escape', content: 'x' }]);
  writeOciLayout(path('layout'), makeImage());
  for (const blob of readdirSync(path('layout/blobs/sha256')))
    writeFileSync(path(`layout/blobs/sha256/${blob}`), 'changed');
  const cases: [string, string, RegExp][] = [
    ['absent', 'NotFound', /nothing to import: .*absent does not exist/],
    ['text', 'Invalid', /is not a tar archive: invalid tar: header checksum/],
    ['cut.tar', 'Invalid', /archive is cut off/],
    ['bad-docker.tar', 'Invalid', /manifest.json .* not that of a docker archive/],
    ['no-layer.tar', 'Invalid', /has no file \.\.\/\.\.\/etc\/passwd/],
    ['escape.tar', 'Invalid', /leaves the root/],
    ['layout', 'Invalid', /blob sha256:.* has 7 bytes, its manifest says/],
  ];
  for (const [name, reason, message] of cases) {
    await assert.rejects(images.service.import(path(name), { references: ['x/y'], signal }), { reason, message }, name);
  }
  assert.deepEqual(images.service.list(), []);
  assert.deepEqual(readdirSync(path('snapshots/staging')), []);
  assert.deepEqual(readdirSync(path('content/ingest')), []);
});

test('the content store is an OCI layout that skopeo reads', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'skopeo')) return;
  await using images = await openTestImages();
  const image = makeBusyboxImage();
  writeDockerArchive(join(images.home, 'in.tar'), image, ['shop/web:1']);
  await images.service.import(join(images.home, 'in.tar'), { references: [], signal });
  const source = `oci:${join(images.home, 'content')}:docker.io/shop/web:1`;
  const copy = join(images.home, 'copy');
  execFileSync('skopeo', ['copy', '--quiet', source, `oci:${copy}:out`]);
  const record = await images.service.import(copy, { references: ['again'], signal });
  assert.equal(record.id, image.config.digest);
});

test('prepareRootFilesystem() twice is the same file system; a lost mount comes back; removal leaves nothing', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  writeTar(join(images.home, 'in.tar'), [
    { name: './', type: 'directory', mode: 0o750 },
    { name: 'a', content: '1' },
  ]);
  const record = await images.service.import(join(images.home, 'in.tar'), { references: ['r'], signal });
  const { path } = await images.service.prepareRootFilesystem('c1', record);
  assert.equal(statSync(path).mode & 0o777, 0o750);
  writeFileSync(join(path, 'written'), 'x'.repeat(10_000));
  assert.equal((await images.service.prepareRootFilesystem('c1', record)).path, path);
  umount(path, MNT.detach);
  assert.equal(existsSync(join(path, 'written')), false);
  const again = await images.restart();
  assert.equal(again.rootFilesystem('c1')?.path, path);
  assert.equal(readFileSync(join(path, 'written'), 'utf8').length, 10_000);
  const usage = await again.rootFilesystem('c1')?.usage();
  assert.ok(usage && usage.usedBytes >= 10_000 && usage.inodes === 1);
  await again.unmountRootFilesystem('c1');
  assert.equal(isMounted(path), false);
  assert.deepEqual(again.listRootFilesystems(), ['c1']);
  assert.ok(again.rootFilesystem('c1'));
  await again.removeRootFilesystem('c1');
  await again.removeRootFilesystem('c1');
  assert.equal(isMounted(path), false);
  assert.equal(again.rootFilesystem('c1'), undefined);
  assert.deepEqual(readdirSync(join(images.home, 'snapshots/containers')), []);
  await assert.rejects(again.prepareRootFilesystem('../x', record), { reason: 'Invalid' });
});

test('remove() keeps the layers of a running container until it is gone', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  writeTar(join(images.home, 'in.tar'), [{ name: 'a', content: '1' }]);
  const record = await images.service.import(join(images.home, 'in.tar'), { references: ['r'], signal });
  const { path } = await images.service.prepareRootFilesystem('c1', record);
  await images.service.remove('r');
  assert.equal(images.service.find('r'), undefined);
  assert.equal(readFileSync(join(path, 'a'), 'utf8'), '1');
  assert.equal(readdirSync(join(images.home, 'snapshots/layers')).length, 1);
  await images.service.removeRootFilesystem('c1');
  assert.deepEqual(readdirSync(join(images.home, 'snapshots/layers')), []);
  assert.deepEqual(readdirSync(join(images.home, 'content/blobs/sha256')), []);
});

test('file modes (CVE-2021-41103): nobody but root can walk to a layer, a container or a blob', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  writeTar(join(images.home, 'in.tar'), [{ name: 'suid', content: '1', mode: 0o4755 }]);
  const record = await images.service.import(join(images.home, 'in.tar'), { references: ['r'], signal });
  const { path } = await images.service.prepareRootFilesystem('c1', record);
  chmodSync(images.home, 0o755);
  const script = 'find "$0" -perm -4000 2>/dev/null; cat "$1/suid" 2>&1';
  const output = execFileSync('sh', ['-c', `${script}; true`, images.home, path], {
    uid: 65534,
    gid: 65534,
    encoding: 'utf8',
  });
  assert.match(output, /^cat: .*Permission denied\n$/);
  for (const folder of ['content', 'content/blobs', 'snapshots', 'snapshots/layers', 'snapshots/containers']) {
    assert.equal(statSync(join(images.home, folder)).mode & 0o077, 0, folder);
  }
});

test('prepareRootFilesystem() unpacks again what somebody deleted, in the middle of a stack too', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  const image = makeImage({ layers: [[{ name: 'a', content: '1' }], [{ name: 'b', content: '2' }]] });
  writeOciLayout(join(images.home, 'layout'), image);
  const record = await images.service.import(join(images.home, 'layout'), { references: ['r'], signal });
  const layersDir = join(images.home, 'snapshots/layers');
  for (const [index, layer] of readdirSync(layersDir).entries()) {
    rmSync(join(layersDir, layer), { recursive: true });
    const { path } = await images.service.prepareRootFilesystem(`c${index}`, record);
    assert.equal(readFileSync(join(path, 'a'), 'utf8') + readFileSync(join(path, 'b'), 'utf8'), '12');
  }
});

test('untag() removes one reference, and the image with its last', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  writeTar(join(images.home, 'in.tar'), [{ name: 'a', content: '1' }]);
  await images.service.import(join(images.home, 'in.tar'), { references: ['r:1', 'r:2'], signal });
  await images.service.untag('r:1');
  assert.deepEqual(images.service.list()[0]?.repoTags, ['docker.io/library/r:2']);
  await images.service.untag('r:2');
  await images.service.untag('r:2');
  assert.deepEqual(images.service.list(), []);
  await assert.rejects(images.service.tag('r:2', 'x'), { reason: 'NotFound' });
});

test('mountView() is read-only, shared, and goes with its last holder', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  writeTar(join(images.home, 'in.tar'), [{ name: 'a', content: '1' }]);
  const record = await images.service.import(join(images.home, 'in.tar'), { references: ['r'], signal });
  const path = await images.service.mountView(record, 'one');
  assert.equal(await images.service.mountView(record, 'two'), path);
  assert.equal(readFileSync(join(path, 'a'), 'utf8'), '1');
  assert.throws(() => writeFileSync(join(path, 'b'), ''), { code: 'EROFS' });
  await images.service.unmountView('one');
  assert.ok(isMounted(path));
  await (await images.restart()).unmountView('two');
  assert.equal(isMounted(path), false);
});

test('an image of 200 layers mounts, and an implied directory keeps the mode it has below', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  const layers: TarItem[][] = [[{ name: 'shared/', type: 'directory', mode: 0o1770, uid: 12, gid: 34 }]];
  for (let index = 1; index < 200; index += 1) layers.push([{ name: `shared/f${index}`, content: `${index}` }]);
  layers.push([{ name: 'shared/.wh.f1' }]);
  const image = makeImage({ layers, compression: 'none' });
  writeOciLayout(join(images.home, 'layout'), image);
  const record = await images.service.import(join(images.home, 'layout'), { references: ['deep'], signal });
  const { path } = await images.service.prepareRootFilesystem('c1', record);
  assert.equal(readdirSync(join(path, 'shared')).length, 198);
  const { mode, uid, gid } = statSync(join(path, 'shared'));
  assert.deepEqual([mode & 0o7777, uid, gid], [0o1770, 12, 34]);
});

test('no space left: the error says so and nothing stays behind', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages({}, (home) => mountTmpfs(home, 'size=140m'));
  // Larger than what the tmpfs has above the reserve that is always kept free.
  const image = makeImage({ layers: [[{ name: 'big', content: Buffer.alloc(100_000_000) }]], compression: 'gzip' });
  await using registry = await startBadRegistry(image);
  const noSpace = { reason: 'Unavailable', message: /no space left on device/ };
  await assert.rejects(images.service.pull(`${registry.host}/big:1`, undefined, { signal }), noSpace);
  assert.deepEqual(readdirSync(join(images.home, 'snapshots/staging')), []);
  assert.deepEqual(readdirSync(join(images.home, 'snapshots/layers')), []);
  assert.deepEqual(images.service.list(), []);
});

test('GC race: removing images while others are pulled never takes what a pull needs', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  const base: TarItem[] = [{ name: 'base', content: 'b'.repeat(100_000) }];
  const variants = Array.from({ length: 6 }, (_, index) =>
    makeImage({ layers: [base, [{ name: 'own', content: `${index}` }]] }),
  );
  const servers = await Promise.all(variants.map((image) => startBadRegistry(image)));
  try {
    for (let round = 0; round < 4; round += 1) {
      await Promise.all(
        servers.map(async ({ host }, index) => {
          const reference = `${host}/v:1`;
          const record = await images.service.pull(reference, undefined, { signal });
          const { path } = await images.service.prepareRootFilesystem(`c${index}`, record);
          assert.equal(readFileSync(join(path, 'own'), 'utf8'), `${index}`);
          assert.equal(statSync(join(path, 'base')).size, 100_000);
          await images.service.removeRootFilesystem(`c${index}`);
          await images.service.remove(reference);
        }),
      );
    }
    assert.deepEqual(readdirSync(join(images.home, 'snapshots/layers')), []);
    assert.deepEqual(readdirSync(join(images.home, 'content/blobs/sha256')), []);
  } finally {
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  }
});

test('recover() drops an image whose blobs are gone and clears what a crash left', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  writeTar(join(images.home, 'in.tar'), [{ name: 'a', content: '1' }]);
  const record = await images.service.import(join(images.home, 'in.tar'), { references: ['r'], signal });
  mkdirSync(join(images.home, 'snapshots/staging/crashed/diff'), { recursive: true });
  mkdirSync(join(images.home, 'snapshots/containers/half/merged'), { recursive: true });
  assert.equal((await images.restart()).list().length, 1);
  assert.deepEqual(readdirSync(join(images.home, 'snapshots/containers')), []);
  await waitFor(() => readdirSync(join(images.home, 'snapshots/staging')).length === 0, { what: 'the deletion' });
  rmSync(join(images.home, 'content/blobs/sha256', record.id.slice(7)));
  assert.deepEqual((await images.restart()).list(), []);
});

test('usage() adds up: content, layers and writable layers are what du finds', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  const du = (): number =>
    ['content/blobs', 'snapshots/layers', 'snapshots/containers'].reduce((sum, folder) => {
      const args = ['-s', '--one-file-system', '--block-size=1', join(images.home, folder)];
      return sum + Number(execFileSync('du', args, { encoding: 'utf8' }).split('\t')[0]);
    }, 0);
  const empty = { used: (await images.service.usage()).usedBytes, du: du() };
  const layers = [0, 1, 2].map((index) => [
    ...Array.from({ length: 50 }, (_, file) => ({ name: `l${index}/f${file}`, content: 'x'.repeat(file * 700) })),
  ]);
  const folder = join(images.home, 'in');
  writeOciLayout(folder, makeImage({ layers }));
  const record = await images.service.import(folder, { references: ['windlass.local/usage:1'], signal });
  const { path } = await images.service.prepareRootFilesystem('c1', record);
  writeFileSync(join(path, 'written'), 'y'.repeat(1_000_000));
  const used = (await images.service.usage()).usedBytes - empty.used;
  const found = du() - empty.du;
  // Folders and records of our own beside each layer are not counted: a few blocks each.
  assert.ok(Math.abs(used - found) < 4 * 5 * 4096, `${used} bytes said, ${found} found`);
  await images.service.unmountRootFilesystem('c1');
  await images.service.removeRootFilesystem('c1');
  await images.service.remove('windlass.local/usage:1');
  assert.equal((await images.service.usage()).usedBytes, empty.used);
});

test('remove() is seen at once, by many callers too, while the same image is imported, exported and run again', async (t) => {
  if (!requireRoot(t)) return;
  await using images = await openTestImages();
  const { service } = images;
  const folder = join(images.home, 'in');
  const name = 'windlass.local/busy:1';
  const layers = [0, 1, 2].map((index) => [{ name: `f${index}`, content: String(index).repeat(200_000) }]);
  writeOciLayout(folder, makeImage({ layers }));
  const files = async (id: string): Promise<string[]> => {
    const record = service.find(name);
    if (!record) return ['gone'];
    try {
      const { path } = await service.prepareRootFilesystem(id, record);
      const ofImage = (file: string): boolean => /^f\d$/.test(file);
      return readdirSync(path).filter(ofImage).toSorted();
    } catch (error) {
      // Removed between the look and the mount: the one failure that is right here.
      if (error instanceof WindlassError && error.reason === 'NotFound') return ['gone'];
      throw error;
    }
  };
  const exported = async (): Promise<number> => {
    let bytes = 0;
    for await (const chunk of service.export([name], 'docker-archive', signal)) bytes += chunk.length;
    return bytes;
  };
  for (let round = 0; round < 12; round += 1) {
    const id = (await service.import(folder, { references: [name], signal })).id;
    const work = [files(`a${round}`), exported(), service.import(folder, { references: [name], signal })] as const;
    const removals = [service.remove(name), service.remove(id)];
    assert.equal(service.find(name), undefined, 'gone from the listing before remove() has resolved');
    await Promise.all([...removals, service.remove(name)]);
    const [found, bytes] = await Promise.all(work);
    assert.ok(found.join() === 'f0,f1,f2' || found.join() === 'gone', found.join());
    assert.ok(bytes > 600_000, 'an export that has begun is whole');
    assert.deepEqual(await files(`b${round}`), ['f0', 'f1', 'f2'], 'the import that ran meanwhile is whole');
  }
  for (const id of service.listRootFilesystems()) {
    await service.unmountRootFilesystem(id);
    await service.removeRootFilesystem(id);
  }
  await service.remove(name);
  const left = readdirSync(join(images.home, 'content/blobs/sha256')).length;
  assert.deepEqual([left, readdirSync(join(images.home, 'snapshots/layers'))], [0, []]);
});
