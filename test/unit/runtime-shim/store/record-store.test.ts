import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { mount, mountTmpfs, MNT, MS, umount } from '../../../../runtime-shim/host/mount.ts';
import { openRecordStore, type RecordStore } from '../../../../runtime-shim/store/record-store.ts';
import type { SandboxRecord } from '../../../../runtime-shim/store/records.ts';
import { requireRoot } from '../../../support/require.ts';

const makeSandbox = (digit: string, change: Partial<SandboxRecord> = {}): SandboxRecord => ({
  id: digit.repeat(64),
  phase: 'ready',
  config: {
    metadata: { name: 'a', uid: 'u', namespace: 'ns', attempt: 0 },
    ...{
      hostname: '',
      logDirectory: '',
      dnsConfig: null,
      portMappings: [],
      labels: {},
      annotations: {},
      linux: null,
      windows: null,
    },
  },
  runtimeHandler: '',
  createdAtMs: 1,
  hostname: 'a',
  directory: '/run/x',
  namespaces: {},
  ...change,
});

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-records-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A file system of its own. */
function mountFolder(t: TestContext, data = ''): string {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-records-'));
  mountTmpfs(folder, data);
  t.after(() => {
    umount(folder, MNT.detach);
    rmSync(folder, { recursive: true });
  });
  return folder;
}

const open = (folder: string): { store: RecordStore; damaged: string[] } => {
  const damaged: string[] = [];
  return { store: openRecordStore(folder, (file) => damaged.push(file)), damaged };
};

test('openRecordStore() keeps what is whole, puts aside what is not, and drops unfinished writes', (t) => {
  const folder = makeFolder(t);
  open(folder).store.sandboxes.save(makeSandbox('a'));
  const file = (name: string): string => join(folder, 'sandboxes', name);
  writeFileSync(file(`${'b'.repeat(64)}.json`), JSON.stringify(makeSandbox('b', { phase: 'x' as 'ready' })));
  writeFileSync(file(`${'c'.repeat(64)}.json`), JSON.stringify(makeSandbox('c')).slice(0, 40));
  writeFileSync(file(`${'d'.repeat(64)}.json.tmp`), '');
  const { store, damaged } = open(folder);
  assert.deepEqual(
    store.sandboxes.list().map(({ id }) => id[0]),
    ['a'],
  );
  assert.deepEqual(
    damaged.toSorted(),
    ['b', 'c'].map((digit) => file(`${digit.repeat(64)}.json`)),
  );
  assert.deepEqual(
    readdirSync(join(folder, 'sandboxes')).map((name) => name.replace(/^(\w)\w+/, '$1')),
    ['a.json', 'b.json.damaged', 'c.json.damaged'],
  );
});

test('on a full disk save() changes nothing and note() writes when there is room', (t) => {
  if (!requireRoot(t)) return;
  const folder = mountFolder(t, 'size=64k');
  const { store } = open(folder);
  const [first, second] = [makeSandbox('a', { phase: 'creating' }), makeSandbox('b')];
  store.sandboxes.save(first);
  fill(join(folder, 'filler'));
  const full = {
    reason: 'Unavailable',
    message: new RegExp(`^failed to write to ${folder}/sandboxes.*: no space left`),
  };
  assert.throws(() => store.sandboxes.save({ ...first, phase: 'ready' }), full);
  assert.throws(() => store.sandboxes.save(second), full);
  store.sandboxes.note({ ...first, phase: 'stopped' });
  assert.deepEqual(
    [store.sandboxes.list(), open(folder).store.sandboxes.list()],
    [[{ ...first, phase: 'stopped' }], [first]],
  );
  rmSync(join(folder, 'filler'));
  store.sandboxes.save(second);
  assert.deepEqual(open(folder).store.sandboxes.list(), [{ ...first, phase: 'stopped' }, second]);
  assert.deepEqual(
    readdirSync(join(folder, 'sandboxes')).filter((name) => !name.endsWith('.json')),
    [],
  );
});

test('save() on a read-only file system names the folder', (t) => {
  if (!requireRoot(t)) return;
  const folder = mountFolder(t);
  const { store } = open(folder);
  mount(null, folder, null, MS.remount | MS.rdonly);
  assert.throws(() => store.sandboxes.save(makeSandbox('a')), {
    reason: 'Unavailable',
    message: /^failed to write to .*sandboxes.*: the file system is read-only$/,
  });
  assert.deepEqual(store.sandboxes.list(), []);
});

/** To the last byte. */
function fill(file: string): void {
  for (const bytes of [4096, 1]) {
    try {
      for (;;) writeFileSync(file, Buffer.alloc(bytes), { flag: 'a' });
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
    }
  }
  assert.ok(readFileSync(file).length > 0);
}
