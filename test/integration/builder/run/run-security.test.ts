// What Dockerfiles have used RUN for against the host of other builders, each named after what it is known by.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { RunMount } from '../../../../builder/operations.ts';
import type { WindlassError } from '../../../../lib/errors.ts';
import { paths } from '../../../../lib/instance.ts';
import { makeDevice } from '../../../../runtime-shim/host/file-nodes.ts';
import { readMounts } from '../../../../runtime-shim/host/mount.ts';
import { openInRoot } from '../../../../runtime-shim/host/open-in-root.ts';
import { openTestSteps, runtimes, type TestSteps } from '../../../support/build-steps.ts';

const isRoot = process.getuid?.() === 0;
const bind = (target: string, source: string, isWritable = false): RunMount => ({
  ...{ type: 'bind', target, from: { kind: 'stage', index: 0 }, source, isWritable },
});
const cache = (target: string, id: string): RunMount => ({
  ...{ type: 'cache', target, id, source: '/', sharing: 'shared', isReadOnly: false, mode: 0o755, uid: 0, gid: 0 },
});
const secret = (overrides: object = {}): RunMount => ({
  ...{ type: 'secret', id: 'token', target: '/run/secrets/token', isRequired: true, mode: 0o400, uid: 0, gid: 0 },
  ...overrides,
});
const SECRET = 's3cret-of-the-test';
const secrets = new Map([['token', Buffer.from(SECRET)]]);

for (const ociRuntime of runtimes()) {
  describe(`hostile RUN steps on ${ociRuntime}`, { skip: isRoot ? false : 'needs root' }, () => {
    let steps: TestSteps;
    /** A folder of the host that is nobody's business. */
    let outside: string;
    before(async () => {
      steps = await openTestSteps({ ociRuntime });
      outside = join(steps.scratch, 'outside');
      mkdirSync(join(outside, 'by/target'), { recursive: true });
      for (const name of ['file', 'by/file']) writeFileSync(join(outside, name), name === 'file' ? 'of the host' : '');
    });
    after(() => steps[Symbol.asyncDispose]());
    const untouched = (): void => {
      assert.ok(existsSync(join(outside, 'by/target')) && existsSync(join(outside, 'by/file')));
      assert.equal(readFileSync(join(outside, 'file'), 'utf8'), 'of the host');
    };

    test('build: mount tricks (CVE-2024-1753): a source that is a link to the root of the host stays in its stage', async () => {
      const tree = steps.makeTree([
        { name: 'root', type: 'symlink', linkName: '/' },
        { name: 'up', type: 'symlink', linkName: '../../../../../../../..' },
        { name: 'etc/mine', content: 'of the stage\n' },
      ]);
      const sourceOf = (_from: unknown, path: string) => ({ tree, path });
      for (const isWritable of [false, true]) {
        const mounts = [
          bind('/a', '/root', isWritable),
          bind('/b', '/up', isWritable),
          bind('/c', '../../..', isWritable),
        ];
        const lines = await steps.run(steps.openRoot(), 'cat /a/etc/mine /b/etc/mine /c/etc/mine; ls /a', {
          mounts,
          sourceOf,
        });
        assert.deepEqual(lines, ['of the stage', 'of the stage', 'of the stage', 'etc', 'root', 'up']);
      }
    });

    test('build: mount tricks (CVE-2024-1753): a target that is a link to the host lands in the root', async () => {
      const root = steps.openRoot([
        { name: 'way', type: 'symlink', linkName: outside },
        { name: 'proc-way', type: 'symlink', linkName: '/proc/self' },
      ]);
      const tree = steps.makeTree([{ name: 'mine', content: 'mine\n' }]);
      const sourceOf = () => ({ tree, path: '/' });
      const mounts = [bind('/way', '/'), cache('/way/../deep', 'deep')];
      assert.deepEqual(await steps.run(root, `cat ${outside}/mine; ls -d /way/../deep`, { mounts, sourceOf }), [
        'mine',
        '/way/../deep',
      ]);
      await assert.rejects(steps.run(root, 'true', { mounts: [cache('/proc-way/fd', 'x')] }), {
        reason: 'Invalid',
        message: /nothing can be mounted in \/proc/,
      });
      await assert.rejects(steps.run(root, 'true', { mounts: [cache('/way/../../..', 'x')] }), {
        reason: 'Invalid',
        message: /over the root/,
      });
      for (const target of ['/dev', '/sys', '/dev/null', '/proc/sys']) {
        await assert.rejects(steps.run(root, 'true', { mounts: [cache(target, 'x')] }), { reason: 'Invalid' });
      }
      untouched();
    });

    test('build: stub cleaner (CVE-2024-23652): mount points behind a link that the command made are not taken away on the host', async () => {
      const root = steps.openRoot();
      const tree = steps.makeTree([{ name: 'file', content: '' }]);
      const sourceOf = (_from: unknown, path: string) => ({ tree, path });
      const mounts = [cache('/made/by/target', 'target'), bind('/made/by/file', '/file')];
      await steps.run(root, `mv /made /moved && ln -s ${outside} /made && ls /moved/by`, { mounts, sourceOf });
      untouched();
      assert.equal(readlinkSync(join(root.root, 'made')), outside);
      const second = steps.openRoot();
      await steps.run(second, `mv /made/by /made/gone && ln -s ${outside}/by /made/by`, { mounts, sourceOf });
      untouched();
    });

    test('build: mount tricks (CVE-2024-23651): two steps that share a cache, one of which changes its folders for links', async () => {
      const tree = steps.makeTree([{ name: 'mine', content: 'mine\n' }]);
      const stop = new AbortController();
      const flipping = Promise.withResolvers<void>();
      const command = `while true; do mkdir -p /cache/sub; rm -rf /cache/sub; ln -s ${outside} /cache/sub; rm /cache/sub; ln -s ../../../../.. /cache/sub; rm /cache/sub; done`;
      const flipper = steps.run(steps.openRoot(), `echo go; ${command}`, {
        ...{ mounts: [cache('/cache', 'raced')], signal: stop.signal },
        onOutput: () => flipping.resolve(),
      });
      await flipping.promise;
      for (let round = 0; round < 12; round += 1) {
        const mounts = [cache('/cache', 'raced'), bind('/cache/sub', '/')];
        try {
          await steps.run(steps.openRoot(), 'true', { mounts, sourceOf: () => ({ tree, path: '/' }) });
        } catch (error) {
          // The place went away in between: no harm.
          assert.ok(['Invalid', 'Internal'].includes((error as WindlassError).reason), String(error));
        }
      }
      stop.abort(new Error('enough'));
      await assert.rejects(flipper, /enough/);
      untouched();
      assert.deepEqual(
        readMounts().filter(({ target }) => target.startsWith(outside)),
        [],
      );
    });

    test('build: mount tricks: a source that is changed for a link while it is looked for never leads out of its tree', async () => {
      const tree = steps.makeTree([{ name: 'real/by/mine', content: 'mine' }]);
      const flipper = spawn(
        'sh',
        ['-c', `cd ${tree} && while true; do ln -sfn real way; ln -sfn ${outside} way; done`],
        { stdio: 'ignore' },
      );
      try {
        for (let round = 0; round < 2000; round += 1) {
          let fd;
          try {
            fd = openInRoot(tree, '/way/by');
          } catch {
            // Nothing there: the link leads to a place that the tree does not have.
            continue;
          }
          const path = readlinkSync(`/proc/self/fd/${fd}`);
          closeSync(fd);
          assert.equal(path, join(tree, 'real/by'));
        }
      } finally {
        flipper.kill('SIGKILL');
      }
    });

    test('build: mount tricks (CVE-2024-9407): nothing that a step mounts or is given reaches the host, in whichever direction', async () => {
      const root = steps.openRoot();
      const mounts = [cache('/cache', 'c')];
      const lines = await steps.run(
        root,
        'mount -t tmpfs x /cache 2>/dev/null || echo no; mount --make-rshared / 2>/dev/null || echo no; umount /cache 2>/dev/null || echo no; grep -c "shared:" /proc/self/mountinfo || true',
        { mounts },
      );
      assert.deepEqual(lines, ['no', 'no', 'no', '0']);
    });

    test('build: front-end rights (CVE-2024-23653): no step has more rights or another network than it was given', async () => {
      const host = readlinkSync('/proc/self/ns/net');
      const command =
        'readlink /proc/self/ns/net; ip link add d0 type dummy 2>/dev/null || echo no; unshare -U true 2>/dev/null || echo no; cat /dev/mem 2>/dev/null || echo no; mknod /null c 1 3 && echo node; mknod /disk b 254 0 && cat /disk 2>/dev/null || echo no; ip -o addr | grep -v lo | wc -l; nc -w 1 10.255.255.1 80 2>/dev/null || echo no';
      for (const network of ['default', 'none'] as const) {
        const [namespace, ...lines] = await steps.run(steps.openRoot(), command, { operation: { network } });
        assert.notEqual(namespace, host);
        assert.deepEqual(lines, ['no', 'no', 'no', 'node', 'no', '0', 'no']);
      }
    });

    test('a context that holds a device or a setuid program of a cache gives no rights', async () => {
      const tree = steps.makeTree([{ name: 'file', content: '' }]);
      makeDevice(join(tree, 'null'), 'char', 0o666, 1, 3);
      const mounts = [bind('/src', '/'), cache('/cache', 'suid')];
      const command =
        'cat /src/null 2>/dev/null || echo no; cp /bin/busybox /cache/busybox; chmod 4755 /cache/busybox; mknod /cache/null c 1 3; cat /cache/null 2>/dev/null || echo no';
      assert.deepEqual(await steps.run(steps.openRoot(), command, { mounts, sourceOf: () => ({ tree, path: '/' }) }), [
        'no',
        'no',
      ]);
      const operation = { user: 'nobody' };
      assert.deepEqual(
        await steps.run(steps.openRoot(), ['/cache/busybox', 'id', '-u'], {
          mounts: [cache('/cache', 'suid')],
          operation,
        }),
        ['65534'],
      );
    });

    test('a root whose /proc, /dev or files of /etc are links is refused or stays a root', async () => {
      for (const name of ['proc', 'dev', 'sys']) {
        const root = steps.openRoot([{ name, type: 'symlink', linkName: outside }]);
        await assert.rejects(steps.run(root, 'true'), {
          reason: 'Invalid',
          message: new RegExp(`the image's /${name} is a link`),
        });
      }
      const root = steps.openRoot([
        { name: 'etc/hosts', type: 'symlink', linkName: `../../../..${outside}/file` },
        { name: 'etc/resolv.conf', type: 'symlink', linkName: `${outside}/resolv.conf` },
        { name: 'etc/hostname', type: 'symlink', linkName: '/proc/sys/kernel/hostname' },
        { name: 'etc/passwd', type: 'symlink', linkName: '/etc/../../../../etc/shadow' },
      ]);
      assert.deepEqual(await steps.run(root, 'head -1 /etc/hosts; cat /etc/hostname; echo x > /etc/hosts'), [
        '127.0.0.1\tlocalhost',
        'build',
      ]);
      assert.ok(!existsSync(join(outside, 'resolv.conf')));
      untouched();
    });

    test('build: front-end rights: a secret is never on a disk, in the layer, in a line or in an error', async () => {
      const root = steps.openRoot();
      const mounts = [secret({ env: 'TOKEN' }), cache('/cache', 'with-secret')];
      const folder = paths.shimState(steps.instance);
      let onDisk: string[] = [];
      let looked = '';
      const failure = steps.run(
        root,
        'echo before; cat /run/secrets/token; echo; echo "a $TOKEN b"; printf "%s" "$TOKEN" | head -c 3; exit 1',
        {
          ...{ mounts, secrets },
          onOutput: (line) => {
            looked += `${line}\n`;
            if (line !== 'before') return;
            const device = statSync(join(folder, 'builds')).dev;
            const found = globSync([`${steps.instance.home}/**`, `${steps.instance.run}/**`]).filter((path) =>
              holds(path, SECRET),
            );
            onDisk = found.filter((path) => statSync(path).dev !== device);
            assert.ok(found.length > 0, 'it is in memory');
            assert.ok(
              readMounts().some(({ target, fstype }) => target === join(folder, 'builds') && fstype === 'tmpfs'),
            );
          },
        },
      );
      await assert.rejects(failure, (error: WindlassError) => {
        assert.ok(!JSON.stringify([error.message, error.details]).includes(SECRET));
        return error.reason === 'Invalid';
      });
      assert.equal(looked, 'before\n***\na *** b\ns3c\n');
      assert.deepEqual(onDisk, []);
      const left = globSync([`${steps.instance.home}/**`, `${steps.instance.run}/**`]).filter((path) =>
        holds(path, SECRET),
      );
      assert.deepEqual(left, []);
      const args = await steps
        .run(root, ['/bin/no-such-tool', SECRET], { mounts, secrets })
        .catch((error: WindlassError) => error);
      assert.ok(!JSON.stringify([(args as WindlassError).message, (args as WindlassError).details]).includes(SECRET));
    });

    test('a fork bomb ends with its limit, and with the build', async () => {
      const root = steps.openRoot();
      const stop = new AbortController();
      // It prints once it has come to its limit.
      const run = steps.run(root, 'bomb() { bomb | bomb & }; bomb; sleep 1000', {
        ...{ resources: { pids: 60 }, signal: stop.signal },
        onOutput: () => stop.abort(new Error('cancelled')),
      });
      await assert.rejects(run, /cancelled/);
      assert.deepEqual(steps.cgroups.pids(steps.cgroupParent), []);
    });
  });
}

/** Programs are larger, and there are many. */
function holds(path: string, text: string): boolean {
  try {
    const stat = statSync(path);
    return stat.isFile() && stat.size < 64 * 1024 && readFileSync(path, 'latin1').includes(text);
  } catch {
    return false;
  }
}
