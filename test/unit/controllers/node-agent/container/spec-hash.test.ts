import assert from 'node:assert/strict';
import { test } from 'node:test';
import { specHash } from '../../../../../controllers/node-agent/container/spec-hash.ts';
import { ContainerSpec } from '../../../../../crds/container.ts';

test('specHash() is of what was written: defaults and what takes effect in place leave the container alone', () => {
  const written = { image: 'web', env: [{ name: 'A', value: '1' }], mounts: [{ mountPath: '/data', volume: 'data' }] };
  const hash = specHash(written);
  assert.equal(specHash(ContainerSpec.parse(written)), hash);
  assert.equal(specHash({ ...ContainerSpec.parse(written), restartPolicy: 'Never', priority: 5 }), hash);
  assert.equal(specHash(Object.fromEntries(Object.entries(written).toReversed())), hash);
  assert.notEqual(specHash({ ...written, tty: true }), hash);
  assert.notEqual(specHash({ ...written, env: [{ name: 'A', value: '2' }] }), hash);
});
