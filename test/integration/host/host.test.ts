import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { identifyProcess } from '../../../lib/process-identity.ts';
import {
  lgetxattr,
  llistxattr,
  lsetxattr,
  lutimesNs,
  makeDevice,
  makeFifo,
} from '../../../runtime-shim/host/file-nodes.ts';
import {
  bindMount,
  isNamespacePin,
  mountOverlay,
  mountTmpfs,
  readMounts,
  umount,
  umountTree,
} from '../../../runtime-shim/host/mount.ts';
import { createSandboxNamespaces, unpinNamespace, withNetns } from '../../../runtime-shim/host/namespaces.ts';
import { isAlive, signalExactProcess } from '../../../runtime-shim/host/processes.ts';
import { createSpawner } from '../../../runtime-shim/host/spawn.ts';

describe('host facilities', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let root: string;
  const at = (...parts: string[]): string => join(root, ...parts);
  const folder = (...parts: string[]): string => {
    mkdirSync(at(...parts), { recursive: true });
    return at(...parts);
  };

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'windlass-host-'));
  });
  afterEach(() => {
    umountTree(root);
    rmSync(root, { recursive: true, force: true });
  });

  it('mountOverlay() takes 120 lower folders whose paths do not fit in a page', () => {
    const lowerDirs = Array.from({ length: 120 }, (_, index) => {
      const lower = folder(`${'layer'.repeat(20)}-${index}`);
      writeFileSync(join(lower, `file-${index}`), '');
      writeFileSync(join(lower, 'same'), String(index));
      return lower;
    });
    const target = folder('merged');
    mountOverlay({ lowerDirs, upperDir: folder('upper'), workDir: folder('work'), target, options: ['volatile'] });
    assert.equal(readdirSync(target).length, 121);
    assert.equal(readFileSync(join(target, 'same'), 'utf8'), '0', 'the first is on top');
    writeFileSync(join(target, 'new'), 'x');
    assert.deepEqual(readdirSync(at('upper')), ['new']);
  });

  it('mountOverlay() says which part is wrong and leaves nothing', () => {
    const target = folder('merged');
    assert.throws(() => mountOverlay({ lowerDirs: [at('absent')], target }), { code: 'ENOENT', message: /absent/ });
    assert.equal(readMounts().filter((mount) => mount.target.startsWith(root)).length, 0);
  });

  it('bindMount() read-only and recursive covers submounts; umountTree() takes all', () => {
    mountTmpfs(folder('source', 'sub'), 'size=1m');
    bindMount(at('source'), folder('target'), { readOnly: true, recursive: true, propagation: 'private' });
    assert.throws(() => writeFileSync(at('target', 'sub', 'x'), ''), { code: 'EROFS' });
    writeFileSync(at('source', 'sub', 'x'), '');
    assert.throws(() => bindMount(at('absent'), at('target')), { code: 'ENOENT' });
    assert.equal(umountTree(root), 3);
    umount(at('target'));
    umount(at('absent'));
  });

  it('createSandboxNamespaces() pins new namespaces and returns to its own, also when it fails', () => {
    const own = ['net', 'ipc', 'uts'].map((kind) => readlinkSync(`/proc/self/ns/${kind}`));
    createSandboxNamespaces({ net: at('ns', 'net'), ipc: at('ns', 'ipc'), uts: at('ns', 'uts'), hostname: 'inner' });
    assert.equal(execFileSync('nsenter', [`--uts=${at('ns', 'uts')}`, 'hostname'], { encoding: 'utf8' }), 'inner\n');
    assert.ok(isNamespacePin(at('ns', 'net')));
    assert.match(
      withNetns(at('ns', 'net'), () => readFileSync('/proc/thread-self/net/dev', 'utf8')),
      /lo:/,
    );
    assert.throws(() => withNetns(at('ns', 'net'), () => assert.fail('inside')), /inside/);
    assert.throws(() =>
      createSandboxNamespaces({ net: at('ns2', 'net'), uts: at('ns2', 'uts'), hostname: 'x'.repeat(65) }),
    );
    assert.throws(() =>
      createSandboxNamespaces({ net: at('ns2', 'net'), hostname: 'x' }, () => assert.fail('step inside')),
    );
    assert.deepEqual(
      ['net', 'ipc', 'uts'].map((kind) => readlinkSync(`/proc/self/ns/${kind}`)),
      own,
    );
    for (const kind of ['net', 'ipc', 'uts']) unpinNamespace(at('ns', kind));
    unpinNamespace(at('ns', 'net'));
    assert.equal(isNamespacePin(at('ns', 'net')), false);
    assert.equal(readMounts().filter((mount) => mount.target.startsWith(root)).length, 0);
  });

  it('spawnProcess() gives the child exactly the descriptors asked for, and its exit', async () => {
    const spawner = createSpawner();
    const out = openSync(at('out'), 'w');
    const leak = openSync('/dev/null', 'r');
    const shell = spawner.spawnProcess({
      file: '/bin/sh',
      argv: ['sh', '-c', 'exec >&5; echo "$A $PWD"; ls /proc/$$/fd; exit 7'],
      env: { A: 'value', PATH: '/usr/bin:/bin' },
      cwd: root,
      fds: { 5: out },
    });
    assert.deepEqual(await shell.exited, { code: 7, signal: undefined });
    const [value, cwd, ...fds] = readFileSync(at('out'), 'utf8').split(/\s+/).filter(Boolean);
    assert.deepEqual({ value, cwd, fds }, { value: 'value', cwd: root, fds: ['0', '1', '2', '5'] });
    for (const fd of [out, leak]) closeSync(fd);
    assert.throws(() => spawner.spawnProcess({ file: '/absent', argv: ['x'], env: {} }), { code: 'ENOENT' });
  });

  it("spawnProcess() leaves node's own children alone, and theirs leave ours", async () => {
    const spawner = createSpawner();
    const ours = Array.from({ length: 8 }, (_, code) =>
      spawner.spawnProcess({ file: '/bin/sh', argv: ['sh', '-c', `exit ${code}`], env: {} }),
    );
    const theirs = Array.from({ length: 4 }, (_, code) => once(spawn('/bin/sh', ['-c', `exit ${code}`]), 'exit'));
    assert.deepEqual(
      (await Promise.all(ours.map(({ exited }) => exited))).map(({ code }) => code),
      [0, 1, 2, 3, 4, 5, 6, 7],
    );
    assert.deepEqual(
      (await Promise.all(theirs)).map(([code]) => code as number),
      [0, 1, 2, 3],
    );
  });

  it('signalExactProcess() ends a process, but not another one with its pid', async () => {
    const child = createSpawner().spawnProcess({ file: '/bin/sleep', argv: ['sleep', '60'], env: {} });
    const identity = identifyProcess(child.pid);
    assert.ok(identity);
    assert.equal(signalExactProcess({ ...identity, startTime: identity.startTime - 1 }, 'SIGKILL'), false);
    assert.ok(isAlive(child.pid, identity.startTime));
    assert.equal(signalExactProcess(identity, 'SIGKILL'), true);
    assert.deepEqual(await child.exited, { code: undefined, signal: 'SIGKILL' });
    assert.equal(signalExactProcess(identity, 'SIGKILL'), false);
  });

  it('file nodes: devices, pipes, attributes and times of a link itself', () => {
    makeDevice(at('null'), 'char', 0o600, 1, 3);
    assert.equal(lstatSync(at('null')).rdev, lstatSync('/dev/null').rdev);
    makeFifo(at('fifo'), 0o600);
    assert.ok(lstatSync(at('fifo')).isFIFO());
    lutimesNs(at('fifo'), -1n, 1_234_567_890_123_456_789n);
    assert.equal(lstatSync(at('fifo'), { bigint: true }).mtimeNs, 1_234_567_890_123_456_789n);
    assert.equal(lstatSync(at('fifo'), { bigint: true }).atimeNs, -1n);
    writeFileSync(at('file'), '');
    lsetxattr(at('file'), 'user.note', Buffer.from('text'));
    assert.equal(String(lgetxattr(at('file'), 'user.note')), 'text');
    assert.equal(lgetxattr(at('file'), 'user.absent'), undefined);
    assert.ok(llistxattr(at('file')).includes('user.note'));
    assert.throws(() => lgetxattr(at('absent'), 'user.note'), { code: 'ENOENT' });
  });
});
