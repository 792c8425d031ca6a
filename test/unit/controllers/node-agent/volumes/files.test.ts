import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { cleanMountPath, listMounts } from '../../../../../controllers/node-agent/volumes/mount-list.ts';
import { selectFiles, writeProjectedFiles } from '../../../../../controllers/node-agent/volumes/projected-files.ts';
import { pathSteps, resolveBelow } from '../../../../../controllers/node-agent/volumes/safe-path.ts';
import { makeContainer } from '../make.ts';

async function folder(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'windlass-files-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

test('resolveBelow() makes what is missing and follows no link, neither first, last nor between', async (t) => {
  const root = await folder(t);
  assert.equal(await resolveBelow(root, 'a/b/'), join(root, 'a/b'));
  assert.ok((await stat(join(root, 'a/b'))).isDirectory());
  await writeFile(join(root, 'file'), 'x');
  assert.equal(await resolveBelow(root, 'file'), join(root, 'file'));
  await symlink('/etc', join(root, 'out'));
  await symlink('a', join(root, 'in'));
  await symlink('/nowhere', join(root, 'a/dangling'));
  for (const path of ['out', 'out/passwd', 'in/b', 'a/dangling', 'a/dangling/x', 'file/x']) {
    await assert.rejects(resolveBelow(root, path), { conditionReason: 'InvalidSubPath' }, path);
  }
  for (const path of ['/etc', '../x', 'a/../../x', 'a\0b']) assert.throws(() => pathSteps(path), path);
});

test('writeProjectedFiles() swaps the whole set at once and writes nothing when it is the same', async (t) => {
  const directory = join(await folder(t), 'cfg');
  const file = (path: string, text: string, mode = 0o644) => ({ path, mode, content: Buffer.from(text) });
  assert.equal(await writeProjectedFiles(directory, [file('a', '1'), file('sub/b', '2', 0o400)]), true);
  const first = await readlink(join(directory, '..data'));
  assert.equal(await readFile(join(directory, 'sub/b'), 'utf8'), '2');
  assert.equal((await stat(join(directory, 'sub/b'))).mode & 0o777, 0o400);
  assert.equal(await writeProjectedFiles(directory, [file('a', '1'), file('sub/b', '2', 0o400)]), false);
  assert.equal(await writeProjectedFiles(directory, [file('c', '3')]), true);
  assert.deepEqual(
    (await readdir(directory)).filter((name) => !name.startsWith('..')),
    ['c'],
  );
  assert.notEqual(await readlink(join(directory, '..data')), first);
  await assert.rejects(readdir(join(directory, first)), { code: 'ENOENT' });
  await assert.rejects(writeProjectedFiles(directory, [file('../out', 'x')]), { conditionReason: 'InvalidSubPath' });
});

test('selectFiles() takes the keys that are named, with their modes, and names a missing one', () => {
  const data = { a: Buffer.from('1'), b: Buffer.from('2') };
  assert.deepEqual(selectFiles(data, { items: [{ key: 'b', path: 'x/y', mode: 0o600 }] }), {
    files: [{ path: 'x/y', mode: 0o600, content: data.b }],
  });
  assert.deepEqual(selectFiles(data, { items: [{ key: 'c', path: 'c' }] }), { missingKey: 'c' });
  assert.deepEqual(selectFiles(data, { items: [{ key: 'c', path: 'c' }], optional: true }), { files: [] });
});

test('listMounts() adds an anonymous volume per VOLUME that is not mounted, and keeps them in the root', () => {
  const container = makeContainer({ mounts: [{ mountPath: '/data//', volume: 'v' }] });
  const image = { config: { Volumes: { '/data': {}, '/../../etc/x': {}, '/': {}, '/log/': {} } } };
  assert.deepEqual(
    listMounts(container, image).map(({ mountPath, volume }) => [mountPath, volume]),
    [
      ['/data', 'v'],
      ['/log', undefined],
      ['/etc/x', undefined],
    ],
  );
  assert.deepEqual(
    listMounts(container, image, ['/log']).map(({ mountPath }) => mountPath),
    ['/data', '/etc/x'],
  );
  assert.equal(cleanMountPath('/a/./b//../c/'), '/a/c');
});
