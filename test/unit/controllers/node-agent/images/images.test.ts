import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildImageStatus } from '../../../../../controllers/node-agent/images/image-status.ts';
import { createImagePuller, describePull } from '../../../../../controllers/node-agent/images/image-puller.ts';
import { findImageSource } from '../../../../../controllers/node-agent/images/image-source.ts';
import { prepareImage } from '../../../../../controllers/node-agent/images/prepare-image.ts';
import { findCredentials } from '../../../../../controllers/node-agent/images/pull-secrets.ts';
import { normaliseReference, registryOf } from '../../../../../controllers/node-agent/images/reference.ts';
import type { Cluster } from '../../../../../controllers/node-agent/cluster.ts';
import type { InspectedImage } from '../../../../../controllers/node-agent/runtime/node-runtime.ts';
import { PULL_NODE_ANNOTATION, type Image } from '../../../../../crds/image.ts';
import { IMAGE, makeContainer, NOW } from '../make.ts';

const image = (name: string, spec: object, status?: Image['status']): Image => ({
  apiVersion: 'windlass.dev/v1',
  kind: 'Image',
  metadata: { name, namespace: 'shop', generation: 1 },
  spec: { pullPolicy: 'IfNotPresent', retain: false, ...spec } as Image['spec'],
  ...(status ? { status } : {}),
});

test('normaliseReference() writes out what Docker implies', () => {
  const pairs = {
    busybox: 'docker.io/library/busybox:latest',
    'me/app:1': 'docker.io/me/app:1',
    'localhost/x': 'localhost/x:latest',
    'localhost:5000/x:2': 'localhost:5000/x:2',
    'reg.io/a/b': 'reg.io/a/b:latest',
    'index.docker.io/library/a': 'docker.io/library/a:latest',
    [`a:1@sha256:${'0'.repeat(64)}`]: `docker.io/library/a@sha256:${'0'.repeat(64)}`,
  };
  for (const [short, full] of Object.entries(pairs)) assert.equal(normaliseReference(short), full);
  assert.equal(registryOf('localhost:5000/x'), 'localhost:5000');
});

test('findImageSource() looks among the Images first, and never pulls over an imported one', () => {
  const imported = image(
    'z',
    { import: { hostPath: '/x' }, tags: ['busybox'] },
    { digest: 'sha256:abc', nodes: ['n2'] },
  );
  const pulled = image('a', { reference: 'busybox', pullPolicy: 'Always', imagePullSecrets: [{ name: 's' }] });
  const found = findImageSource(makeContainer(), [pulled, imported]);
  assert.deepEqual(found, {
    kind: 'local',
    imageName: 'z',
    digest: 'sha256:abc',
    policy: 'IfNotPresent',
    reference: 'docker.io/library/busybox:latest',
    nodes: ['n2'],
    home: undefined,
  });
  const always = findImageSource(makeContainer(), [pulled]);
  assert.deepEqual(always, {
    kind: 'reference',
    reference: 'docker.io/library/busybox:latest',
    policy: 'Always',
    secretNames: ['s'],
    known: { digest: undefined, nodes: [] },
  });
  assert.equal(findImageSource(makeContainer({ image: 'other' }), [pulled]).kind, 'reference');
  const byName = makeContainer({ image: undefined, imageName: 'nope' });
  assert.deepEqual(findImageSource(byName, []), {
    kind: 'missing',
    reason: 'ImageNotFound',
    message: 'image "nope" not found',
  });
});

test('prepareImage() gets from another node what no registry has, by the digest that the Image has now', async () => {
  const made = image('web', { import: { hostPath: '/x' } }, { digest: 'sha256:new', nodes: ['n2'] });
  const built = { ...made, metadata: { ...made.metadata, annotations: { [PULL_NODE_ANNOTATION]: 'n2' } } };
  const here = new Map<string, { id: string }>();
  const asked: object[] = [];
  const prepare = (nodeName: string, policy?: 'Never') =>
    prepareImage(
      {
        cluster: { images: { list: () => [built] } } as unknown as Cluster,
        runtime: { inspectImage: async (name) => here.get(name) as InspectedImage | undefined },
        lookUp: async (name) => here.get(name) as InspectedImage | undefined,
        nodeName,
        puller: {
          request: (reference, _, { known }) => {
            asked.push({ reference, known });
            return { state: 'Pulling', progress: undefined };
          },
        },
      },
      makeContainer({ image: undefined, imageName: 'web', ...(policy && { imagePullPolicy: policy }) }),
      { sinceMs: 0, onPullEnd: () => undefined, signal: new AbortController().signal },
    );
  const reference = 'windlass.local/shop/web:latest';
  // What the name meant here before is of no use.
  here.set(reference, { id: 'old' });
  assert.deepEqual(await prepare('n1'), {
    state: 'Waiting',
    reason: 'Pulling',
    message: 'getting image "web" from node n2',
  });
  assert.deepEqual(asked, [{ reference, known: { digest: 'sha256:new', nodes: ['n2'], isLocal: true } }]);
  assert.equal((await prepare('n1', 'Never')).state, 'Waiting');
  assert.equal(asked.length, 1);
  // Where it was made the name may be ahead of the status.
  assert.deepEqual(await prepare('n2'), { state: 'Ready', image: { id: 'old' }, reference });
  here.set('sha256:new', { id: 'new' });
  assert.deepEqual(await prepare('n1'), { state: 'Ready', image: { id: 'new' }, reference });
});

test('findCredentials() gives credentials to their own registry only, the longest path first', () => {
  const secret = (auths: object) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 's' },
    data: { '.dockerconfigjson': Buffer.from(JSON.stringify({ auths })).toString('base64') },
  });
  const secrets = [
    secret({
      'https://index.docker.io/v1/': { auth: Buffer.from('hub:pw:1').toString('base64') },
      'reg.io': { username: 'all', password: 'p' },
      'reg.io/team': { username: 'team', password: 'p' },
      'token.io': { auth: Buffer.from('me:').toString('base64'), identitytoken: 't' },
    }),
  ];
  const user = (reference: string) => findCredentials(secrets, normaliseReference(reference))?.username;
  assert.equal(user('busybox'), 'hub');
  assert.equal(user('reg.io/team/app'), 'team');
  assert.equal(user('reg.io/teams/app'), 'all');
  assert.equal(user('evil.reg.io/x'), undefined);
  const token = findCredentials(secrets, normaliseReference('token.io/a'));
  assert.deepEqual(token, { username: 'me', password: '', identityToken: 't' });
  assert.equal(findCredentials([{ ...secrets[0]!, data: { '.dockerconfigjson': 'e30=x' } }], 'a'), undefined);
});

test('createImagePuller() joins pulls of one reference and backs off after a failure', async () => {
  let now = 0;
  const pending: PromiseWithResolvers<void>[] = [];
  const runtime = { pullImage: () => (pending.push(Promise.withResolvers<void>()), pending.at(-1)!.promise) };
  const clock = { now: () => now, sleep: async () => undefined };
  const puller = createImagePuller(runtime, clock, new AbortController().signal);
  let wakes = 0;
  const ask = (waiter = 'a') =>
    puller.request('r.io/x:1', undefined, { sinceMs: now, waiter, onEnd: () => (wakes += 1) });
  assert.equal(ask().state, 'Pulling');
  assert.equal(ask('b').state, 'Pulling');
  assert.equal(ask('b').state, 'Pulling');
  assert.equal(pending.length, 1);
  pending[0]?.reject(new Error('manifest unknown'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(wakes, 2);
  const failed = ask();
  assert.deepEqual(failed, {
    state: 'Failed',
    reason: 'ErrImagePull',
    message: 'failed to pull r.io/x:1 from registry r.io: manifest unknown',
    retryAtMs: 10_000,
  });
  const again = ask();
  assert.equal(again.state === 'Failed' && again.reason, 'ImagePullBackOff');
  now = 10_000;
  assert.equal(ask().state, 'Pulling');
  assert.equal(pending.length, 2);
});

test('createImagePuller() tells how long a pull took, and forgets old failures when there are many', async () => {
  let now = 0;
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const broken = new Set(['r.io/x:1']);
  const runtime: Parameters<typeof createImagePuller>[0] = {
    pullImage: async (reference, _, onProgress) => {
      if (broken.has(reference)) throw new Error('no');
      now += 1500;
      onProgress?.({ phase: 'Pulling', completedBytes: 1, totalBytes: 12_300_000 });
    },
  };
  const puller = createImagePuller(
    runtime,
    { now: () => now, sleep: async () => undefined },
    new AbortController().signal,
  );
  const ends: string[] = [];
  const ask = (reference: string) =>
    puller.request(reference, undefined, {
      sinceMs: now,
      waiter: 'a',
      onEnd: (end) => ends.push(end.state === 'Done' ? describePull(end) : end.state),
    });
  ask('r.io/y:1');
  await settle();
  assert.deepEqual(ends, ['in 1.5 s (12.3MB)']);
  const retryInMs = async () => {
    ask('r.io/x:1');
    await settle();
    const failed = ask('r.io/x:1');
    return failed.state === 'Failed' ? failed.retryAtMs - now : undefined;
  };
  assert.equal(await retryInMs(), 10_000);
  now += 3_600_000;
  assert.equal(await retryInMs(), 20_000);
  for (let count = 0; count < 300; count += 1) ask(`r.io/many:${count}`);
  await settle();
  now += 3_600_000;
  assert.equal(await retryInMs(), 10_000);
});

test('buildImageStatus() keeps an image usable when only its refresh failed', () => {
  const spec = { reference: 'busybox' };
  const here = buildImageStatus(image('a', spec), { kind: 'here', image: IMAGE, fetched: true }, 'n1', NOW);
  const conditionOf = (status: typeof here, type: string) =>
    status.conditions?.find((one) => one.type === type)?.status;
  assert.deepEqual([conditionOf(here, 'Ready'), here.nodes, here.digest], ['True', ['n1'], 'sha256:2222']);
  const failed = { kind: 'failed', reason: 'ErrImagePull', message: 'no', requeueAfterMs: 1 } as const;
  assert.equal(buildImageStatus(image('a', spec), failed, 'n1', NOW).reference, 'docker.io/library/busybox:latest');
  const stale = buildImageStatus(image('a', spec, here), failed, 'n1', NOW);
  assert.deepEqual([conditionOf(stale, 'Ready'), conditionOf(stale, 'Pulled')], ['True', 'False']);
  assert.equal(conditionOf(buildImageStatus(image('a', spec), failed, 'n1', NOW), 'Ready'), 'False');
});
