import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ANNOTATIONS } from '../../../../../controllers/node-agent/container/annotations.ts';
import {
  findStrayRootFilesystems,
  keptImage,
  rootfsKeyOf,
} from '../../../../../controllers/node-agent/container/rootfs-key.ts';
import { specHash } from '../../../../../controllers/node-agent/container/spec-hash.ts';
import { IMAGE, makeContainer, makeRun, makeSandbox, observe } from '../make.ts';

test('findStrayRootFilesystems() spares the layers of the specs as they are', () => {
  const container = makeContainer();
  const older = makeContainer({ image: 'other' });
  assert.deepEqual(findStrayRootFilesystems([rootfsKeyOf(container), rootfsKeyOf(older), 'u9.1'], [container]), [
    rootfsKeyOf(older),
    'u9.1',
  ]);
});

test('rootfsKeyOf() is the same for what changes in place', () => {
  const container = makeContainer({ restartedAt: '2026-11-23T12:00:00Z', desiredState: 'Stopped' });
  assert.equal(rootfsKeyOf(container), rootfsKeyOf(makeContainer()));
});

test('keptImage() goes on with the image of a run that was started, after a reboot too', () => {
  const container = makeContainer();
  const annotations = { [ANNOTATIONS.imageDigest]: 'sha256:1', [ANNOTATIONS.image]: 'a:1' };
  const look = (run?: object, status?: object, memory: Parameters<typeof keptImage>[1] = { image: undefined }) =>
    keptImage(
      observe(makeContainer({}, status ? { status } : {}), {
        sandboxes: [makeSandbox(container)],
        containers: run ? [makeRun({ annotations, ...run })] : [],
      }),
      memory,
    );
  assert.deepEqual(look({}), { digest: 'sha256:1', reference: 'a:1' });
  // What it was made from need not be looked up again.
  const image = { ...IMAGE, digest: 'sha256:1' };
  assert.deepEqual(look({}, undefined, { image }), { digest: 'sha256:1', reference: 'a:1', image });
  assert.deepEqual(look({}, undefined, { image: IMAGE }), { digest: 'sha256:1', reference: 'a:1' });
  assert.equal(look({ startedAtMs: 0 }), undefined);
  const status = { startedAt: '2026-11-23T11:00:00Z', imageDigest: 'sha256:2', image: 'a:2' };
  assert.deepEqual(look(undefined, { ...status, specHash: specHash(container.spec) }), {
    digest: 'sha256:2',
    reference: 'a:2',
  });
  assert.equal(look(undefined, { ...status, specHash: 'of another spec' }), undefined);
  assert.equal(look(), undefined);
});
