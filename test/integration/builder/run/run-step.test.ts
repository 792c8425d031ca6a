// RUN instructions on the real runtimes: what a command sees, what it leaves, how it ends.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { WindlassError } from '../../../../lib/errors.ts';
import { openTestSteps, runtimes, type TestSteps } from '../../../support/build-steps.ts';
import { takeOwnSnapshot } from '../../../support/host-snapshot.ts';
import { waitFor } from '../../../support/wait.ts';

const isRoot = process.getuid?.() === 0;

/** The error that a step fails with. */
async function failureOf(run: Promise<unknown>): Promise<WindlassError> {
  try {
    await run;
  } catch (error) {
    assert.ok(error instanceof WindlassError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: 'the step succeeded' });
}

for (const ociRuntime of runtimes()) {
  describe(`a RUN step on ${ociRuntime}`, { skip: isRoot ? false : 'needs root' }, () => {
    let steps: TestSteps;
    before(async () => {
      steps = await openTestSteps({ ociRuntime });
    });
    after(() => steps[Symbol.asyncDispose]());

    test('leaves in its root what the command did and nothing else', async () => {
      const root = steps.openRoot();
      const before = takeOwnSnapshot(steps.instance);
      await steps.run(
        root,
        'echo text > /made; rm /etc/group; mkdir /var/log/app; echo gone >> /etc/hosts; echo x > /tmp/t',
      );
      assert.equal(readFileSync(join(root.root, 'etc/hosts'), 'utf8'), '');
      const left = takeOwnSnapshot(steps.instance);
      const others = (paths: readonly string[]): string[] => paths.filter((path) => !path.includes('/root-'));
      // The folders and the mount that the first step makes stay for the others.
      const isLasting = (path: string): boolean =>
        /\/builds(\/(runtime|steps|sealed(\/\w+)?))?$|\/builder\/steps$/.test(path);
      assert.deepEqual(
        others(left.files).filter((path) => !isLasting(path)),
        others(before.files).filter((path) => !isLasting(path)),
      );
      assert.deepEqual(
        left.cgroups.filter((path) => path.includes('build-')),
        [],
      );
      assert.deepEqual(left.processes, before.processes);
      assert.deepEqual(root.close(), ['etc', 'etc/group', 'made', 'tmp', 'tmp/t', 'var', 'var/log', 'var/log/app']);
    });

    test('runs with what docker build gives: namespaces, capabilities, a filter, nothing of the host to write', async () => {
      const root = steps.openRoot();
      const lines = await steps.run(
        root,
        [
          'hostname',
          'cat /etc/hostname',
          'echo $$',
          "awk '$1 ~ /CapEff|CapBnd|Seccomp:|NoNewPrivs/ { print $1 $2 }' /proc/self/status",
          'ip -o link | wc -l',
          'ls /sys/firmware | wc -l',
          'mkdir /sys/fs/cgroup/memory/x 2>/dev/null || echo read-only',
          '(echo 1 > /proc/sys/kernel/panic) 2>/dev/null || echo read-only',
          "df /dev/shm | tail -1 | awk '{ print $2 }'",
        ].join('; '),
      );
      assert.deepEqual(lines, [
        ...['build', 'build', '1', 'CapEff:00000000a80425fb', 'CapBnd:00000000a80425fb', 'NoNewPrivs:0', 'Seccomp:2'],
        ...['1', '0', 'read-only', 'read-only', '65536'],
      ]);
    });

    test('has the user, the folder and the variables of the instruction', async () => {
      const root = steps.openRoot([{ name: 'work/', type: 'directory' }]);
      const operation = { user: 'www-data', cwd: '/work', env: ['PATH=/bin', 'NAME=a b', 'NAME=c d'] };
      assert.deepEqual(await steps.run(root, 'id -u; id -g; pwd; echo "$NAME $HOME"', { operation }), [
        '33',
        '33',
        '/work',
        'c d /var/www',
      ]);
      assert.deepEqual(await steps.run(root, 'echo out > /dev/stdout; echo err > /dev/stderr', { operation }), [
        'out',
        'err',
      ]);
      const numbers = await steps.run(root, 'id -u; id -g; echo $HOME', {
        operation: { ...operation, user: '1234:33' },
      });
      assert.deepEqual(numbers, ['1234', '33', '/']);
      const unknown = await failureOf(steps.run(root, 'true', { operation: { ...operation, user: 'who' } }));
      assert.equal(unknown.reason, 'Invalid');
      assert.match(unknown.message, /user "who" is not in the image's \/etc\/passwd/);
    });

    test('refuses what no process can be given', async () => {
      const root = steps.openRoot();
      await assert.rejects(steps.run(root, []), { reason: 'Invalid', message: 'RUN has no command' });
      await assert.rejects(steps.run(root, ['echo', 'a\0b']), { reason: 'Invalid', message: /argument .* NUL/ });
      const operation = { env: ['PATH=/bin', 'A=x\0y'] };
      await assert.rejects(steps.run(root, 'true', { operation }), {
        reason: 'Invalid',
        message: 'variable "A" holds a NUL',
      });
      await assert.rejects(steps.run(root, 'true', { operation: { cwd: '/etc/passwd' } }), {
        reason: 'Invalid',
        message: /not a directory/,
      });
      assert.deepEqual(root.close(), []);
    });

    test('makes the working directory that nobody made', async () => {
      const root = steps.openRoot();
      assert.deepEqual(await steps.run(root, 'pwd', { operation: { cwd: '/new/folder' } }), ['/new/folder']);
    });

    test('fails with the exit code and the last lines', async () => {
      const root = steps.openRoot();
      const error = await failureOf(steps.run(root, 'for i in $(seq 30); do echo line $i; done; exit 42'));
      assert.equal(error.reason, 'Invalid');
      assert.match(error.message, /^exit code 42; its last line: line 30$/);
      assert.equal(error.details['exitCode'], 42);
      assert.deepEqual((error.details['output'] as string[]).slice(-2), ['line 29', 'line 30']);
      assert.equal((error.details['output'] as string[]).length, 20);
    });

    test('says which signal ended it', async () => {
      const error = await failureOf(steps.run(steps.openRoot(), "sh -c 'kill -TERM $$'; exit $?"));
      assert.equal(error.details['signal'], 'SIGTERM');
      assert.match(error.message, /exit code 143, as after SIGTERM/);
    });

    test('says that the kernel killed for memory', async () => {
      const error = await failureOf(
        steps.run(steps.openRoot(), 'a=x; while true; do a=$a$a; done', { resources: { memoryBytes: 32 * 2 ** 20 } }),
      );
      assert.equal(error.details['isOutOfMemory'], true);
      assert.match(error.message, /killed a process of it for memory/);
    });

    test('without a shell in the stage fails naming the program', async () => {
      const root = steps.openRoot([{ name: 'bin/.wh..wh..opq' }]);
      const error = await failureOf(steps.run(root, 'true'));
      assert.equal(error.reason, 'Invalid');
      assert.match(error.message, /program "\/bin\/sh" cannot be run: this stage lacks it.*RUN takes a list/);
      assert.match((await failureOf(steps.run(steps.openRoot(), ['no-such-tool']))).message, /program "no-such-tool"/);
      assert.match((await failureOf(steps.run(steps.openRoot(), ['/etc']))).message, /program "\/etc" cannot be run/);
    });

    test('hands on every line whoever takes them how slowly', async () => {
      const root = steps.openRoot();
      let [count, bytes, isBusy] = [0, 0, false];
      await steps.run(root, 'seq 200000; printf "no end"', {
        onOutput: async (line) => {
          assert.equal(isBusy, false);
          isBusy = true;
          count += 1;
          bytes += line.length + 1;
          if (count % 20_000 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
          isBusy = false;
        },
      });
      assert.equal(count, 200_001);
      assert.equal(bytes, 1_288_895 + 'no end'.length + 1);
    });

    test('has its memory bounded by pieces of a line that never ends', async () => {
      const root = steps.openRoot();
      let [longest, total] = [0, 0];
      await steps.run(root, 'dd if=/dev/zero bs=1M count=64 2>/dev/null | tr "\\0" x', {
        onOutput: (line) => {
          longest = Math.max(longest, line.length);
          total += line.length;
        },
      });
      assert.equal(total, 64 * 2 ** 20);
      assert.ok(longest <= 16 * 1024, `${longest}`);
    });

    test('is ended with all it started when its signal fires, and leaves nothing', async () => {
      const root = steps.openRoot();
      const stop = new AbortController();
      const started = Promise.withResolvers<void>();
      const run = steps.run(
        root,
        'for i in 1 2 3; do setsid sh -c "while true; do sleep 1000; done" & done; echo up; wait',
        {
          signal: stop.signal,
          onOutput: () => started.resolve(),
          mounts: [{ type: 'tmpfs', target: '/mnt/fast' }],
        },
      );
      await started.promise;
      stop.abort(new Error('the build was cancelled'));
      await assert.rejects(run, /the build was cancelled/);
      const { processes, cgroups, mounts } = takeOwnSnapshot(steps.instance);
      assert.deepEqual(processes, []);
      assert.deepEqual(
        cgroups.filter((path) => path.includes('build-')),
        [],
      );
      assert.deepEqual(
        mounts.filter((line) => line.includes('/steps/')),
        [],
      );
      assert.deepEqual(root.close(), []);
    });

    test('is not started when its signal has fired', async () => {
      const root = steps.openRoot();
      await assert.rejects(
        steps.run(root, 'touch /made', { signal: AbortSignal.abort(new Error('too late')) }),
        /too late/,
      );
      assert.deepEqual(root.close(), []);
    });

    test('is ended also while nobody takes its lines', async () => {
      const stop = new AbortController();
      const run = steps.run(steps.openRoot(), 'while true; do echo more; done', {
        signal: stop.signal,
        onOutput: () => {
          stop.abort(new Error('cancelled'));
          return new Promise(() => undefined);
        },
      });
      await assert.rejects(run, /cancelled/);
    });

    test('ends when nobody takes its lines any more', async () => {
      const run = steps.run(steps.openRoot(), 'while true; do echo more; done', {
        onOutput: () => Promise.reject(new Error('the log is full')),
      });
      await assert.rejects(run, /the log is full/);
    });

    test('runs beside others without sharing anything', async () => {
      const lines = await Promise.all(
        Array.from({ length: 6 }, async (_, index) => {
          const root = steps.openRoot();
          const output = await steps.run(root, `echo ${index} > /mine; ls /proc | grep -c "^[0-9]"; cat /mine`);
          assert.deepEqual(root.close(), ['mine']);
          return output[1];
        }),
      );
      assert.deepEqual(lines, ['0', '1', '2', '3', '4', '5']);
    });

    test('knows the compiled filter after the first step', async (t) => {
      if (ociRuntime !== 'crun') return t.skip('runc compiles its filters itself');
      const root = steps.openRoot();
      const folder = join(steps.instance.run, 'shim/builds/steps');
      let config = '';
      await waitFor(
        async () => {
          const stop = new AbortController();
          const run = steps.run(root, 'echo up; sleep 1000', {
            signal: stop.signal,
            onOutput: () => {
              const [name = ''] = readdirSync(folder);
              config = readFileSync(join(folder, name, 'config.json'), 'utf8');
              stop.abort(new Error('seen'));
            },
          });
          await assert.rejects(run, /seen/);
          return config.includes('run.oci.seccomp_bpf_data');
        },
        { what: 'a specification with its filter', timeoutMs: 30_000 },
      );
      assert.deepEqual(await steps.run(root, 'grep Seccomp: /proc/self/status'), ['Seccomp:\t2']);
      assert.ok(!existsSync(join(folder, 'filter')));
    });
  });
}
