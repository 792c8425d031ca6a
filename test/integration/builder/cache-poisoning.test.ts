// What an image says of itself never stands in for a step: neither its history, nor a configuration that differs alone.
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import type { RunConfig } from '../../../oci/manifest.ts';
import { cachedSteps, configOf, mustBuild } from '../../support/builds.ts';
import { busyboxFiles, makeImage, writeOciLayout, type TestImage } from '../../support/images.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { BUSYBOX, startTestShim, type TestShim } from '../../support/shim.ts';

let started: TestShim | undefined;
before(async () => {
  if (process.getuid?.() === 0) started = await startTestShim();
});
after(async () => started?.[Symbol.asyncDispose]());

function live(t: TestContext): TestShim | undefined {
  return requireRoot(t) && requirePrograms(t, 'conmon', 'runc') ? started : undefined;
}

async function importAs({ cri, instance }: TestShim, image: TestImage, reference: string): Promise<void> {
  const folder = mkdtempSync(join(instance.home, 'image-'));
  writeOciLayout(folder, image);
  await cri.node.importImage({ path: folder, references: [reference] });
}

/** What a command in the image says, by a build that shows it. */
async function shows(shim: TestShim, image: string, command: string): Promise<string> {
  const inlineFiles = { Dockerfile: `FROM ${image}\nRUN ${command}\n` };
  const { log } = await mustBuild(shim, { inlineFiles, noCache: true });
  return log.flatMap((line) => /^#2 \d+\.\d (.*)$/.exec(line)?.[1] ?? []).join('\n');
}

test('build: cache poisoning (CVE-2024-24557): an image with a crafted history is no step of a build', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const step = 'echo real > /who';
  const base = busyboxFiles();
  const forged = makeImage({
    layers: [base, [{ name: 'who', content: 'forged\n' }]],
    config: { Env: ['PATH=/bin'], Cmd: ['sh'] },
    createdBy: ['windlass import', `RUN /bin/sh -c ${step}`],
  });
  await importAs(
    shim,
    makeImage({ layers: [base], config: { Env: ['PATH=/bin'], Cmd: ['sh'] } }),
    'windlass.local/base:1',
  );
  await importAs(shim, forged, 'windlass.local/forged:1');
  const Dockerfile = `FROM windlass.local/base:1\nRUN ${step}\n`;
  const { image, log } = await mustBuild(shim, {
    inlineFiles: { Dockerfile },
    references: ['windlass.local/built:1'],
  });
  assert.deepEqual([image.cachedSteps, cachedSteps(log)], [0, []]);
  assert.equal(await shows(shim, 'windlass.local/built:1', 'cat /who'), 'real');
});

test('build: cache poisoning (CVE-2024-24557): bases that differ in HEALTHCHECK or ONBUILD alone give images that do', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const Dockerfile = 'FROM windlass.local/changing:1\nRUN echo step > /step\n';
  const check = (program: string): Required<RunConfig>['Healthcheck'] => ({
    ...{ Test: ['CMD', program], Interval: undefined, Timeout: undefined },
    ...{ StartPeriod: undefined, StartInterval: undefined, Retries: undefined },
  });
  const buildOn = async (config: RunConfig) => {
    const layers = [busyboxFiles()];
    await importAs(shim, makeImage({ layers, config: { Env: ['PATH=/bin'], ...config } }), 'windlass.local/changing:1');
    const { image, log } = await mustBuild(shim, {
      inlineFiles: { Dockerfile },
      references: ['windlass.local/result:1'],
    });
    return { cached: cachedSteps(log), config: (await configOf(shim, image.imageId)).config };
  };
  const first = await buildOn({ Healthcheck: check('true') });
  assert.deepEqual(first, { ...first, cached: [] });
  assert.deepEqual(first.config.Healthcheck?.Test, ['CMD', 'true']);
  const other = await buildOn({ Healthcheck: check('false') });
  assert.deepEqual([other.cached, other.config.Healthcheck?.Test], [['RUN echo step > /step'], ['CMD', 'false']]);
  const none = await buildOn({});
  assert.equal(none.config.Healthcheck, undefined);
  // What is triggered runs below the step, which therefore runs again.
  const triggered = await buildOn({ OnBuild: ['RUN echo trigger > /trigger'] });
  assert.deepEqual(triggered.cached, []);
  assert.equal(await shows(shim, 'windlass.local/result:1', 'cat /trigger /step'), 'trigger\nstep');
});

test('the steps of ONBUILD are counted, and the log ends with the digest', async (t) => {
  const shim = live(t);
  if (!shim) return;
  const Dockerfile = `FROM ${BUSYBOX} AS base\nONBUILD RUN echo trigger > /trigger\nONBUILD ENV A=1\nFROM base\nRUN true\n`;
  const { image, log, step } = await mustBuild(shim, { inlineFiles: { Dockerfile } });
  assert.equal(step, '7/7 RUN true');
  assert.equal(log.at(-1), `built ${image.digest}, image id ${image.imageId}`);
});
