import assert from 'node:assert/strict';
import { test } from 'node:test';
import { specHash } from '../../../../../controllers/node-agent/container/spec-hash.ts';
import { ContainerSpec } from '../../../../../crds/container.ts';

test('specHash() leaves the container alone for another order of keys, and for what takes effect in place', () => {
  const spec = ContainerSpec.parse({ image: 'web', env: [{ name: 'A', value: '1' }] });
  const hash = specHash(spec);
  assert.equal(specHash({ ...spec, restartPolicy: 'Never', priority: 5 }), hash);
  assert.equal(specHash(Object.fromEntries(Object.entries(spec).toReversed())), hash);
  assert.notEqual(specHash({ ...spec, tty: true }), hash);
  assert.notEqual(specHash({ ...spec, env: [{ name: 'A', value: '2' }] }), hash);
});

test('specHash() is what it was for containers that older versions made', () => {
  assert.equal(specHash({ image: 'web', tty: false, env: [{ value: '1', name: 'A' }] }), '3cfa07254e145634');
});
