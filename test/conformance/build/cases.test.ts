// Every Dockerfile of the corpus makes what other builders made of it (facts/, recorded by scripts/record-build-facts.ts):
// the same configuration, the same files. Built anew it is the same image to the last byte, and built again nothing runs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, suite, test, type TestContext } from 'node:test';
import type { Draft } from '../../../cri/messages.ts';
import type { BuildFailure, BuildImageRequest } from '../../../cri/node-messages.ts';
import { makeBaseImages } from '../../support/build/base-images.ts';
import { build, importImages, readImage } from '../../support/build/build.ts';
import { readCases, writeContext, type BuildCase } from '../../support/build/corpus.ts';
import { layTree } from '../../support/build/file-tree.ts';
import { compareFacts, factsOf } from '../../support/build/image-facts.ts';
import { expectedOf, readRecorded } from '../../support/build/recorded.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';

/** Two cores: a build waits for its commands most of the time. */
const AT_ONCE = 4;
/** When all files of all contexts were changed last. */
const CONTEXT_SECONDS = 1_600_000_000;

let shared: Promise<TestShim> | undefined;
const images = makeBaseImages();
const bases = {
  busybox: layTree(images.find(({ name }) => name === 'busybox')?.image.tars ?? []),
  scratch: layTree([]),
};

/** One shim for all cases, with the images that they start from. */
function openShim(): Promise<TestShim> {
  shared ??= startTestShim().then(async (shim) => {
    await importImages(shim, images);
    return shim;
  });
  return shared;
}

suite('the corpus of Dockerfiles', { concurrency: AT_ONCE }, () => {
  for (const buildCase of readCases()) {
    const { name, fails } = buildCase;
    test(name, (t) => (fails === undefined ? checkBuilt(t, buildCase) : checkFailure(t, buildCase, fails)));
  }
});

after(async () => {
  await (await shared)?.[Symbol.asyncDispose]();
});

const canRun = (t: TestContext): boolean => requireRoot(t) && requirePrograms(t, 'runc', 'conmon');

async function checkBuilt(t: TestContext, buildCase: BuildCase): Promise<void> {
  if (!canRun(t)) return;
  const recorded = readRecorded(buildCase.name);
  const expected = recorded && expectedOf(buildCase, recorded);
  assert.ok(expected, `facts/${buildCase.name}.json says nothing of what to expect`);
  const shim = await openShim();
  using context = openContext(shim, buildCase);
  const first = await build(shim, context.request);
  assert.ok(first.image, `the build failed: ${first.failure?.message}\n${first.log}`);
  const made = factsOf(await readImage(shim, first.image.imageId), bases[buildCase.base]);
  const differences = compareFacts(made, expected);
  assert.equal(differences.length, 0, `${expected.of.join(', ')} made another image:\n${differences.join('\n')}`);

  const anew = await build(shim, { ...context.request, noCache: true });
  assert.equal(anew.image?.digest, first.image.digest, `built without a cache it is another image\n${anew.log}`);
  const again = await build(shim, context.request);
  assert.equal(again.image?.digest, first.image.digest, `built from the cache it is another image\n${again.log}`);
  assert.deepEqual(stepsThatRan(again.log), [], `a step ran again\n${again.log}`);
}

async function checkFailure(
  t: TestContext,
  buildCase: BuildCase,
  { line, says = '' }: NonNullable<BuildCase['fails']>,
): Promise<void> {
  if (!canRun(t)) return;
  const shim = await openShim();
  using context = openContext(shim, buildCase);
  const { failure, log } = await build(shim, context.request);
  assert.ok(failure, `the build succeeded\n${log}`);
  assert.deepEqual(placeOf(failure), placeOf({ ...failure, line: line ?? 0, file: buildCase.dockerfile }), log);
  assert.ok(failure.message.includes(says), `does not name ${says}: ${failure.message}`);
}

/** Of the steps that make layers, those that do not say that theirs was there. */
function stepsThatRan(log: string): string[] {
  return [...log.matchAll(/^(#\d+) \[.*?\d+\/\d+\] (?:RUN|COPY|ADD) .*$/gim)]
    .filter(([, number]) => !log.includes(`${number} CACHED\n`))
    .map(([line]) => line);
}

/** An error that no line is to blame for names no file either. */
const placeOf = ({ line, file }: Pick<BuildFailure, 'line' | 'file'>): string => (line === 0 ? '' : `${file}:${line}`);

/** Cases share steps, and a step that is found keeps the times of the files that it was made of. */
const dateAlike = (folder: string): unknown =>
  execFileSync('find', [folder, '-exec', 'touch', '-h', '-d', `@${CONTEXT_SECONDS}`, '{}', '+']);

function openContext(
  { instance }: TestShim,
  buildCase: BuildCase,
): Disposable & { readonly request: Draft<BuildImageRequest> } {
  const folder = mkdtempSync(join(instance.home, `case-${buildCase.name}-`));
  const hostPath = join(folder, 'context');
  mkdirSync(hostPath);
  writeContext(buildCase, hostPath);
  dateAlike(hostPath);
  const { name, dockerfile, target = '', args, labels, secrets } = buildCase;
  return {
    request: {
      ...{ id: name, hostPath, dockerfile, target, args, labels },
      references: [`windlass.local/case-${name}:1`],
      secrets: Object.entries(secrets).map(([id, value]) => ({ id, data: Buffer.from(value) })),
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
