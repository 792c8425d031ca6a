// RUN --mount and VOLUME: what the command sees, and that nothing of it is left in the layer.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { RunMount } from '../../../../builder/operations.ts';
import type { SourceTree } from '../../../../builder/run/runner.ts';
import { openTestSteps, runtimes, type TestSteps } from '../../../support/build-steps.ts';

const isRoot = process.getuid?.() === 0;
const bind = (overrides: Partial<Extract<RunMount, { type: 'bind' }>> = {}): RunMount => ({
  ...{ type: 'bind', target: '/src', from: { kind: 'context' }, source: '/', isWritable: false },
  ...overrides,
});
const cache = (overrides: Partial<Extract<RunMount, { type: 'cache' }>> = {}): RunMount => ({
  ...{ type: 'cache', target: '/cache', id: '/cache', source: '/', sharing: 'shared', isReadOnly: false },
  ...{ mode: 0o755, uid: 0, gid: 0 },
  ...overrides,
});
const secret = (overrides: Partial<Extract<RunMount, { type: 'secret' }>> = {}): RunMount => ({
  ...{ type: 'secret', id: 'token', target: '/run/secrets/token', isRequired: true, mode: 0o400, uid: 0, gid: 0 },
  ...overrides,
});
const secrets = new Map([['token', Buffer.from('s3cret-of-the-test\nline two of it\n')]]);

for (const ociRuntime of runtimes()) {
  describe(`mounts of a RUN step on ${ociRuntime}`, { skip: isRoot ? false : 'needs root' }, () => {
    let steps: TestSteps;
    let sourceOf: (from: unknown, path: string) => SourceTree;
    let tree: string;
    before(async () => {
      steps = await openTestSteps({ ociRuntime });
      tree = steps.makeTree([
        { name: 'file', content: 'from the context\n' },
        { name: 'folder/', type: 'directory', mode: 0o750, uid: 33 },
        { name: 'folder/inner', content: 'inner\n' },
        { name: 'way', type: 'symlink', linkName: '/folder' },
        { name: 'pipe', type: 'fifo' },
      ]);
      sourceOf = (_from, path) => ({ tree, path });
    });
    after(() => steps[Symbol.asyncDispose]());

    test('bind shows a folder or a file that cannot be written', async () => {
      const root = steps.openRoot();
      const mounts = [bind(), bind({ target: '/one/file', source: '/file' }), bind({ target: '/way', source: 'way' })];
      const lines = await steps.run(
        root,
        'cat /src/file /one/file /way/inner; (echo x > /src/new) 2>/dev/null || echo no; (echo x > /one/file) 2>/dev/null || echo no',
        { mounts, sourceOf },
      );
      assert.deepEqual(lines, ['from the context', 'from the context', 'inner', 'no', 'no']);
      assert.deepEqual(root.close(), []);
    });

    test('a writable bind throws away what is written to it', async () => {
      const root = steps.openRoot();
      const mounts = [bind({ isWritable: true }), bind({ target: '/f', source: '/file', isWritable: true })];
      const command =
        'echo new > /src/file; rm /src/folder/inner; echo x > /src/more; ls /src; stat -c "%a %u" /src/folder; echo mine > /f; cat /src/file /f';
      const lines = await steps.run(root, command, { mounts, sourceOf });
      assert.deepEqual(lines, ['file', 'folder', 'more', 'pipe', 'way', '750 33', 'new', 'mine']);
      assert.equal(readFileSync(join(tree, 'file'), 'utf8'), 'from the context\n');
      assert.equal(readFileSync(join(tree, 'folder/inner'), 'utf8'), 'inner\n');
      assert.deepEqual(root.close(), []);
    });

    test('a bind of what is not there, or is no file, fails naming it', async () => {
      const run = (source: string) => steps.run(steps.openRoot(), 'true', { mounts: [bind({ source })], sourceOf });
      await assert.rejects(run('/none'), {
        reason: 'NotFound',
        message: 'mount 1 (bind): /none is not in the build context',
      });
      await assert.rejects(run('/file/below'), { reason: 'NotFound' });
      await assert.rejects(run('/pipe'), {
        reason: 'Invalid',
        message: /source \/pipe is neither a file nor a directory/,
      });
    });

    test('mount points that were there keep their content, and their folders their times', async () => {
      const root = steps.openRoot([
        { name: 'opt/', type: 'directory', mtime: { seconds: 1_000_000_000, nanoseconds: 7 } },
        { name: 'opt/kept/', type: 'directory' },
        { name: 'opt/kept/below', content: 'below\n' },
      ]);
      const mounts = [bind({ target: '/opt/kept' }), bind({ target: '/opt/new/deep' }), cache({ target: '/opt/c' })];
      assert.deepEqual(await steps.run(root, 'ls /opt', { mounts, sourceOf }), ['c', 'kept', 'new']);
      assert.deepEqual(await steps.run(root, 'ls /opt /opt/kept; stat -c %y /opt'), [
        '/opt:',
        'kept',
        '',
        '/opt/kept:',
        'below',
        '2001-09-09 01:46:40.000000007 +0000',
      ]);
      // What is written beside a mount point stays, with the folder that was made for it.
      await steps.run(root, 'echo x > /opt/new/beside', { mounts, sourceOf });
      assert.deepEqual(
        root.close().filter((path) => path.startsWith('opt/new')),
        ['opt/new', 'opt/new/beside'],
      );
    });

    test('a target of another kind fails naming it', async () => {
      const root = steps.openRoot([{ name: 'data', content: '' }]);
      await assert.rejects(steps.run(root, 'true', { mounts: [bind({ target: '/data' })], sourceOf }), {
        reason: 'Invalid',
        message: 'mount 1 (bind): /data is a file in this stage, where a directory is needed',
      });
      await assert.rejects(steps.run(root, 'true', { mounts: [bind(), cache({ target: '/src/' })], sourceOf }), {
        reason: 'Invalid',
        message: /another mount of the instruction is at \/src/,
      });
    });

    test('mounts in mounts are made there, whatever order they are given in', async () => {
      const root = steps.openRoot();
      const mounts = [cache({ target: '/a/b/c', id: 'c' }), { type: 'tmpfs', target: '/a/b' } as const];
      const lines = await steps.run(root, 'echo x > /a/b/c/f; echo y > /a/b/g; ls -R /a/b', { mounts });
      assert.deepEqual(lines, ['/a/b:', 'c', 'g', '', '/a/b/c:', 'f']);
      assert.deepEqual(root.close(), []);
    });

    test('a cache is there for the next step, and begins with the mode, owner or content that is asked for', async () => {
      const root = steps.openRoot();
      const mounts = [
        cache({ id: 'mine', mode: 0o700, uid: 33, gid: 33 }),
        cache({ id: 'seed', target: '/seed', from: { kind: 'context' }, source: '/way' }),
      ];
      assert.deepEqual(
        await steps.run(
          root,
          'stat -c "%a %u %g" /cache; echo 1 > /cache/a; cat /seed/inner; stat -c %a /seed; echo 2 >> /seed/inner',
          { mounts, sourceOf },
        ),
        ['700 33 33', 'inner', '750'],
      );
      assert.deepEqual(
        await steps.run(steps.openRoot(), 'cat /cache/a /seed/inner', { mounts, sourceOf, buildId: 'other' }),
        ['1', 'inner', '2'],
      );
      const readOnly = [cache({ id: 'mine', isReadOnly: true })];
      assert.deepEqual(await steps.run(root, '(echo x > /cache/b) 2>/dev/null || cat /cache/a', { mounts: readOnly }), [
        '1',
      ]);
      assert.deepEqual(root.close(), []);
    });

    test('tmpfs has the size that is asked for', async () => {
      const root = steps.openRoot();
      const mounts: RunMount[] = [{ type: 'tmpfs', target: '/t', sizeBytes: 2 ** 20 }];
      const lines = await steps.run(
        root,
        "dd if=/dev/zero of=/t/f bs=64k count=100 2>/dev/null || ls -l /t | awk 'NR > 1 { print $5 }'; stat -c %a /t",
        { mounts },
      );
      assert.deepEqual(lines, ['1048576', '1777']);
      assert.deepEqual(root.close(), []);
    });

    test('a secret is a file of its owner and mode, a variable, or both', async () => {
      const root = steps.openRoot();
      const mounts = [secret({ mode: 0o440, uid: 33, gid: 33, env: 'TOKEN' })];
      const lines = await steps.run(
        root,
        'stat -c "%a %u %g" /run/secrets/token; wc -c < /run/secrets/token; [ "$TOKEN" = "$(cat /run/secrets/token)" ] || echo "${#TOKEN}"; (echo x > /run/secrets/token) 2>/dev/null || echo no',
        { mounts, secrets },
      );
      assert.deepEqual(lines, ['440 33 33', '34', '34', 'no']);
      const variable = await steps.run(root, 'ls /run; echo ${#TOKEN}', {
        mounts: [{ ...secret({ env: 'TOKEN' }), target: undefined } as unknown as RunMount],
        secrets,
      });
      assert.deepEqual(variable, ['34']);
      assert.deepEqual(root.close(), []);
    });

    test('a secret that was not given fails the step only where it is required', async () => {
      const root = steps.openRoot();
      await assert.rejects(steps.run(root, 'true', { mounts: [secret()] }), {
        reason: 'NotFound',
        message: 'mount 1 (secret token): the build was given no secret "token"',
      });
      const mounts = [secret({ isRequired: false, env: 'TOKEN' })];
      assert.deepEqual(await steps.run(root, 'ls /run; echo "[$TOKEN]"', { mounts }), ['[]']);
    });

    test('a here-document is a program', async () => {
      const root = steps.openRoot();
      const script = { name: 'EOF', content: '#!/bin/sh\necho from $0\n' };
      assert.deepEqual(await steps.run(root, ['/dev/pipes/EOF'], { operation: { script } }), ['from /dev/pipes/EOF']);
      assert.deepEqual(root.close(), []);
    });

    test('a volume of the kernel, one named twice, and one that a mount covers are no trouble', async () => {
      const root = steps.openRoot([{ name: 'data/image', content: 'of the image\n' }]);
      const operation = { volumes: ['/sys/fs/cgroup', '/data', '/data/', '/dev/shm'] };
      assert.deepEqual(await steps.run(root, 'ls /data; df /dev/shm | wc -l', { operation }), ['image', '2']);
      assert.deepEqual(
        await steps.run(root, 'ls /data', { operation, mounts: [cache({ target: '/data', id: 'd' })] }),
        [],
      );
      assert.deepEqual(root.close(), []);
    });

    test('a place that cannot be made fails as such', async () => {
      const mounts = [bind(), cache({ target: '/src/none' })];
      await assert.rejects(steps.run(steps.openRoot(), 'true', { mounts, sourceOf }), {
        reason: 'Invalid',
        message: /^the step cannot be set up: .*read-only file system/i,
      });
    });

    test('a volume shows what the image has, can be written, and keeps nothing but the folder it is at', async () => {
      const root = steps.openRoot([
        { name: 'data/', type: 'directory', mode: 0o1777, uid: 33 },
        { name: 'data/image', content: 'of the image\n' },
      ]);
      const operation = { volumes: ['/data', '/fresh/volume'] };
      const lines = await steps.run(
        root,
        'cat /data/image; stat -c "%a %u" /data; echo x > /data/image; echo y > /data/new; rm -f /data/none; echo z > /fresh/volume/f; ls /data /fresh/volume; echo kept > /beside',
        { operation },
      );
      assert.deepEqual(lines, ['of the image', '1777 33', '/data:', 'image', 'new', '', '/fresh/volume:', 'f']);
      assert.deepEqual(await steps.run(root, 'cat /data/image', { operation }), ['of the image']);
      await assert.rejects(steps.run(root, 'true', { operation: { volumes: ['/beside'] } }), {
        reason: 'Invalid',
        message: 'volume /beside: it is a file in this stage',
      });
      assert.deepEqual(root.close(), ['beside', 'fresh', 'fresh/volume']);
    });
  });
}
