import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { checkFolders, claimFolders, removeFolders } from '../../../cli/instance-folders.ts';
import { describeInstance } from '../../../lib/instance.ts';

test('claimFolders() and checkFolders() refuse a folder that is not windlass’s own', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'windlass-folders-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const home = join(root, 'srv');
  mkdirSync(home);
  writeFileSync(join(home, 'precious'), 'data');
  const instance = describeInstance(home, join(root, 'run'));
  assert.throws(() => claimFolders(instance), /srv exists and is not a windlass folder: choose another with --home/);
  assert.throws(() => checkFolders(instance), /is not a windlass folder/);
});

test('checkFolders() refuses a run folder of another instance and names its flags', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'windlass-folders-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const first = describeInstance(join(root, 'a'), join(root, 'run'));
  claimFolders(first);
  claimFolders(first);
  assert.throws(
    () => checkFolders(describeInstance(join(root, 'b'), join(root, 'run'))),
    new RegExp(`--home ${first.home} --run ${first.run}`),
  );
  removeFolders(first);
  assert.equal(existsSync(first.home), false);
});

test('claimFolders() takes a folder that a start on a full disk left without its marker', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'windlass-folders-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const instance = describeInstance(join(root, 'a'), join(root, 'run'));
  mkdirSync(instance.home);
  writeFileSync(join(instance.home, 'windlass-instance.json.123'), '{"id":');
  claimFolders(instance);
  checkFolders(instance);
  removeFolders(instance);
});

test('claimFolders() says which folder cannot be made', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'windlass-folders-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const file = join(root, 'file');
  writeFileSync(file, '');
  const instance = describeInstance(join(root, 'home'), join(file, 'run'));
  assert.throws(() => claimFolders(instance), /failed to make .*\/file\/run \(ENOTDIR\): is its file system there/);
});
