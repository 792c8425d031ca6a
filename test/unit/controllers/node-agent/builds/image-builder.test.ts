import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createImageBuilder, type BuildOrder } from '../../../../../controllers/node-agent/builds/image-builder.ts';
import { toImageBuild } from '../../../../../controllers/node-agent/builds/build-request.ts';
import type { BuildOutcome } from '../../../../../controllers/node-agent/runtime/image-build.ts';
import { createFakeClock } from '../../../../support/fake-clock.ts';
import { makeImage } from '../../../../support/objects.ts';

const failure = {
  message: 'no such image',
  file: 'Dockerfile',
  line: 1,
  column: 1,
  instruction: 'FROM base',
  reason: 'Invalid',
  output: [],
  missingImage: '',
};

/** A builder whose clock stands still, so that a back-off never ends; each build waits for its answer. */
function makeBuilder(t: TestContext) {
  const logs = mkdtempSync(join(tmpdir(), 'windlass-builder-'));
  const stop = new AbortController();
  t.after(() => rmSync(logs, { recursive: true, force: true }));
  t.after(() => stop.abort());
  const begun: PromiseWithResolvers<BuildOutcome>[] = [];
  const runtime = {
    buildImage: () => {
      const outcome = Promise.withResolvers<BuildOutcome>();
      begun.push(outcome);
      waiting?.resolve();
      return outcome.promise;
    },
  };
  let waiting: PromiseWithResolvers<void> | undefined;
  const builder = createImageBuilder({ runtime, logs, clock: createFakeClock() }, stop.signal);
  const image = makeImage('web', { build: { context: { inline: { Dockerfile: 'FROM base' } } } });
  const order: BuildOrder = {
    owner: { namespace: 'default', name: 'web', uid: 'uid-web' },
    inputs: 'one',
    build: toImageBuild(image, { kind: 'read', secrets: [], credentials: [], versions: [] }),
    refreshMs: undefined,
  };
  return {
    builder,
    begun,
    /** Asks for the build; resolves with how it stands once it is over. */
    async ask(answer: (outcome: PromiseWithResolvers<BuildOutcome>) => void) {
      const over = Promise.withResolvers<void>();
      waiting = Promise.withResolvers();
      const isBegun = waiting.promise;
      const state = builder.request(order, over.resolve);
      if (state.state !== 'Building') return state;
      await isBegun;
      const last = begun.at(-1);
      assert.ok(last);
      answer(last);
      await over.promise;
      return builder.request(order, () => undefined);
    },
  };
}

test('retry() begins a build anew that waits for its back-off, and only in its namespace', async (t) => {
  const { builder, begun, ask } = makeBuilder(t);
  const fail = (outcome: PromiseWithResolvers<BuildOutcome>) =>
    outcome.resolve({ kind: 'failed', ...failure, isFinal: false });
  assert.equal((await ask(fail)).state, 'Failed');
  builder.retry('elsewhere');
  assert.equal((await ask(fail)).state, 'Failed');
  assert.equal(begun.length, 1);
  builder.retry('default');
  const built = await ask((outcome) =>
    outcome.resolve({ kind: 'built', digest: 'sha256:1', cachedSteps: 0, commit: '' }),
  );
  assert.equal(built.state, 'Built');
  assert.equal(begun.length, 2);
});

test('retry() leaves alone what failed for good', async (t) => {
  const { builder, begun, ask } = makeBuilder(t);
  await ask((outcome) => outcome.resolve({ kind: 'failed', ...failure, isFinal: true }));
  builder.retry('default');
  const state = await ask(() => undefined);
  assert.equal(state.state === 'Failed' && state.isFinal, true);
  assert.equal(begun.length, 1);
});

test('retry() while a build is under way lets it be tried at once when it fails', async (t) => {
  const { builder, begun, ask } = makeBuilder(t);
  const again = await ask((outcome) => {
    builder.retry('default');
    outcome.resolve({ kind: 'failed', ...failure, isFinal: false });
  });
  // Asked when it was over, it has begun again.
  assert.equal(again.state, 'Building');
  begun.at(-1)?.resolve({ kind: 'failed', ...failure, isFinal: true });
});
