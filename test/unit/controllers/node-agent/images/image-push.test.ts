import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createImagePusher, type ImagePusher } from '../../../../../controllers/node-agent/images/image-pusher.ts';
import { pushAll, summarise, type PushDeps } from '../../../../../controllers/node-agent/images/image-pushes.ts';
import { buildImageStatus } from '../../../../../controllers/node-agent/images/image-status.ts';
import { droppedTags } from '../../../../../controllers/node-agent/images/image-tags.ts';
import type { Image } from '../../../../../crds/image.ts';
import { IMAGE, NOW } from '../make.ts';

const image = (spec: object, status?: Image['status']): Image => ({
  apiVersion: 'windlass.dev/v1',
  kind: 'Image',
  metadata: { name: 'a', namespace: 'shop', generation: 1 },
  spec: { pullPolicy: 'IfNotPresent', retain: false, reference: 'busybox', ...spec } as Image['spec'],
  ...(status ? { status } : {}),
});
const pushDeps = (pusher: ImagePusher, missing?: string): PushDeps => ({
  pusher,
  now: () => NOW,
  credentialsFor: async () => (missing === undefined ? {} : { missing }),
  onChange: () => undefined,
});

test('createImagePusher() joins, tells the end once, and waits longer after each failure', async () => {
  let now = 0;
  const pending: PromiseWithResolvers<string>[] = [];
  const runtime = { pushImage: () => (pending.push(Promise.withResolvers<string>()), pending.at(-1)!.promise) };
  const clock = { now: () => now, sleep: async () => undefined };
  const pusher = createImagePusher(runtime, clock, new AbortController().signal);
  let wakes = 0;
  const order = { digest: 'sha256:1', reference: 'r.io/x:1', credentials: undefined };
  const ask = () => pusher.request(order, () => (wakes += 1));
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([ask().state, ask().state, pending.length], ['Pushing', 'Pushing', 1]);
  pending[0]?.reject(new Error('no'));
  await settled();
  assert.equal(wakes, 2);
  assert.deepEqual(ask(), {
    state: 'Failed',
    reason: 'ErrImagePush',
    message: 'failed to push r.io/x:1 to registry r.io: no',
    retryAtMs: 10_000,
  });
  const again = ask();
  assert.equal(again.state === 'Failed' && again.reason, 'ImagePushBackOff');
  now = 10_000;
  assert.equal(ask().state, 'Pushing');
  pending[1]?.resolve('sha256:there');
  await settled();
  assert.deepEqual(ask(), { state: 'Done', digest: 'sha256:there' });
  assert.deepEqual([ask().state, pending.length], ['Pushing', 3], 'asked anew, it is pushed anew');
});

test('pushAll() pushes what the status does not have with this digest, and names a missing Secret', async () => {
  const asked: string[] = [];
  const pusher: ImagePusher = {
    request: ({ reference }) => (asked.push(reference), { state: 'Done', digest: 'sha256:there' }),
  };
  const spec = { push: [{ reference: 'r.io/a' }, { reference: 'r.io/b:2' }, { reference: 'r.io/c:1' }] };
  const pushed = [
    { reference: 'r.io/a:latest', digest: 'sha256:new' },
    { reference: 'r.io/b:2', digest: 'sha256:old' },
    { reference: 'r.io/gone:1', digest: 'sha256:new' },
    { reference: 'r.io/c:1', digest: 'sha256:there', imageDigest: 'sha256:new' },
  ];
  const outcome = await pushAll(pushDeps(pusher), image(spec, { pushed }), 'sha256:new');
  assert.deepEqual(asked, ['r.io/b:2']);
  assert.deepEqual(outcome, {
    pushed: [
      { reference: 'r.io/a:latest', digest: 'sha256:new' },
      { reference: 'r.io/b:2', digest: 'sha256:there', imageDigest: 'sha256:new' },
      { reference: 'r.io/c:1', digest: 'sha256:there', imageDigest: 'sha256:new' },
    ],
    condition: {
      type: 'Pushed',
      status: 'True',
      reason: 'Pushed',
      message: 'sha256:new is at r.io/a:latest; sha256:there is at r.io/b:2, r.io/c:1',
    },
    progress: undefined,
    requeueAfterMs: undefined,
  });
  const secret = { push: [{ reference: 'r.io/a', secretName: 'login' }] };
  const waiting = await pushAll(pushDeps(pusher, 'login'), image(secret), 'sha256:new');
  assert.deepEqual(
    [waiting.condition?.reason, waiting.condition?.message, waiting.requeueAfterMs],
    ['ErrImagePush', 'failed to push r.io/a:latest: secret "login" not found', 5000],
  );
});

test('summarise() tells a failure before what is under way, and looks again soon while something is', () => {
  const states = [
    { reference: 'r.io/a:1', state: { state: 'Pushing', progress: { completedBytes: 1, totalBytes: 4 } } },
    { reference: 'r.io/b:1', state: { state: 'Failed', reason: 'ErrImagePush', message: 'no', retryAtMs: NOW + 9000 } },
  ] as const;
  const both = summarise([], states, NOW);
  assert.deepEqual(
    [both.condition?.reason, both.progress, both.requeueAfterMs],
    ['ErrImagePush', { completedBytes: 1, totalBytes: 4 }, 1000],
  );
  assert.equal(summarise([], states.slice(0, 1), NOW).condition?.message, 'pushing to r.io/a:1');
  assert.equal(summarise([], [], NOW).condition, undefined);
});

test('buildImageStatus() is Ready whatever push does, and forgets pushes that are no longer asked for', () => {
  const spec = { push: [{ reference: 'r.io/a' }] };
  const condition = { type: 'Pushed', status: 'False', reason: 'ErrImagePush', message: 'no' } as const;
  const pushes = { pushed: [], condition, progress: undefined, requeueAfterMs: 1 };
  const here = { kind: 'here', image: IMAGE, fetched: true } as const;
  const failed = buildImageStatus(image(spec), { ...here, pushes }, 'n1', NOW);
  const statusOf = (status: typeof failed, type: string) => status.conditions?.find((one) => one.type === type)?.status;
  assert.deepEqual([statusOf(failed, 'Ready'), statusOf(failed, 'Pushed')], ['True', 'False']);
  const progress = { completedBytes: 1, totalBytes: 2 };
  const busy = buildImageStatus(image(spec), { ...here, pushes: { ...pushes, progress } }, 'n1', NOW);
  assert.deepEqual(busy.progress, { phase: 'Pushing', ...progress });
  const none = { pushed: [], condition: undefined, progress: undefined, requeueAfterMs: undefined };
  const old = { ...failed, pushed: [{ reference: 'r.io/a:latest', digest: 'sha256:1' }] };
  const gone = buildImageStatus(image({}, old), { ...here, pushes: none }, 'n1', NOW);
  assert.deepEqual([statusOf(gone, 'Pushed'), gone.pushed, gone.progress], [undefined, undefined, undefined]);
});

test('droppedTags() gives back tags that were given before, but no other Image wants, and never the last name', () => {
  const status = { tags: ['docker.io/library/busybox:latest', 'r.io/old:1', 'r.io/shared:1', 'r.io/moved:1'] };
  const own = image({ tags: [] }, status);
  const other = image({ reference: undefined, import: { hostPath: '/x' }, tags: ['r.io/shared:1'] });
  const references = ['docker.io/library/busybox:latest', 'r.io/old:1', 'r.io/shared:1'];
  assert.deepEqual(droppedTags(own, { ...IMAGE, references }, [own, other]), ['r.io/old:1']);
  assert.deepEqual(droppedTags(own, { ...IMAGE, references: ['r.io/old:1'] }, [own, other]), []);
});
