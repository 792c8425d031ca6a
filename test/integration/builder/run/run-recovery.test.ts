// What a builder that is killed in the middle of a RUN leaves, and what the next one finds.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { paths } from '../../../../lib/instance.ts';
import { readMounts } from '../../../../runtime-shim/host/mount.ts';
import { openTestSteps, runtimes } from '../../../support/build-steps.ts';
import { takeOwnSnapshot } from '../../../support/host-snapshot.ts';

const isRoot = process.getuid?.() === 0;
const program = fileURLToPath(new URL('../../../support/step-process.ts', import.meta.url));

for (const ociRuntime of runtimes()) {
  describe(`recovery of RUN steps on ${ociRuntime}`, { skip: isRoot ? false : 'needs root' }, () => {
    test('kill -9 in the middle of a step: processes, groups, mounts, namespaces and folders are gone, caches stay', async () => {
      const root = mkdtempSync(join(tmpdir(), `windlass-steps-${process.pid}-`));
      const child = spawn(process.execPath, [program, root, ociRuntime], { stdio: ['ignore', 'pipe', 'inherit'] });
      await new Promise<void>((resolve, reject) => {
        child.stdout.once('data', () => resolve());
        child.once('exit', (code) => reject(new Error(`the step ended with ${code}`)));
      });
      child.removeAllListeners('exit');
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
      await using steps = await openTestSteps({ ociRuntime, root });
      const { instance } = steps;
      const hasSteps = () => takeOwnSnapshot(instance).networkNamespaces.length > 0;
      assert.ok(hasSteps(), 'the command outlives its builder');

      await steps.runner.recover();
      const left = takeOwnSnapshot(instance);
      assert.deepEqual(left.networkNamespaces, []);
      assert.deepEqual(left.processes, []);
      assert.deepEqual(
        left.cgroups.filter((path) => path.includes('/build-')),
        [],
      );
      assert.deepEqual(
        readMounts().filter(({ target }) => target.startsWith(join(paths.shimState(instance), 'builds'))),
        [],
      );
      assert.ok(!existsSync(join(paths.shimState(instance), 'builds')));
      assert.deepEqual(readdirSync(join(paths.builder(instance), 'steps')), []);
      const caches = await steps.caches.list();
      assert.deepEqual(
        caches.map(({ id, isInUse }) => ({ id, isInUse })),
        [{ id: 'kept', isInUse: false }],
      );

      // And all goes on.
      assert.deepEqual(await steps.run(steps.openRoot(), 'echo again'), ['again']);
      await steps.runner.recover();
    });

    test('recovery of nothing makes nothing', async () => {
      await using steps = await openTestSteps({ ociRuntime });
      const before = takeOwnSnapshot(steps.instance);
      await steps.runner.recover();
      assert.deepEqual(takeOwnSnapshot(steps.instance), before);
    });
  });
}
