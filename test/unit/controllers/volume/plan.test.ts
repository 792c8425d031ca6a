import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  findUnsupportedField,
  listNames,
  planVolumeStatus,
  volumeNamesOf,
} from '../../../../controllers/volume/plan.ts';
import type { Container } from '../../../../crds/container.ts';
import type { Volume } from '../../../../crds/volume.ts';
import { makeContainer, makeVolume, NOW, secondsAgo } from '../../../support/objects.ts';

const user = (name: string, nodeName?: string, seconds = 10): Container =>
  makeContainer(name, {
    mounts: [{ mountPath: '/d', volume: 'data' }],
    metadata: { creationTimestamp: secondsAgo(seconds) },
    ...(nodeName ? { nodeName } : {}),
  });

function status(volume: Volume, users: Container[], nodes = ['a', 'b']) {
  const result = planVolumeStatus({ volume, users, hasNode: (name) => nodes.includes(name), now: NOW });
  const conditions = Object.fromEntries(
    (result.conditions ?? []).map((one) => [one.type, `${one.status} ${one.reason}`]),
  );
  return {
    phase: result.phase,
    nodeName: result.nodeName,
    inUseBy: result.inUseBy,
    ...conditions,
    conditions: result.conditions,
  };
}
const pick = ({ conditions: _conditions, ...rest }: ReturnType<typeof status>) => rest;

test('planVolumeStatus() of an unused Volume is Pending, Ready and Dangling', () => {
  assert.deepEqual(pick(status(makeVolume('data'), [])), {
    phase: 'Pending',
    nodeName: undefined,
    inUseBy: [],
    Ready: 'True WaitForFirstUse',
    InUse: 'False NotMounted',
    Dangling: 'True NotMounted',
  });
});

test('planVolumeStatus() binds to the node of the first user that has one', () => {
  const users = [user('late', 'a', 5), user('early', 'b', 50), user('unbound', undefined, 99)];
  assert.deepEqual(pick(status(makeVolume('data'), users)), {
    phase: 'Bound',
    nodeName: 'b',
    inUseBy: ['early', 'late', 'unbound'],
    Ready: 'True Bound',
    InUse: 'True Mounted',
    Dangling: 'False Mounted',
  });
});

test('planVolumeStatus() never moves a Volume, and says when its node is gone', () => {
  const bound = makeVolume('data', { status: { nodeName: 'a' } });
  assert.deepEqual(status(bound, [user('u', 'b')]).nodeName, 'a');
  const lost = status(bound, [], ['b']);
  assert.deepEqual(
    [lost.phase, lost.conditions?.find(({ type }) => type === 'Ready')?.message],
    ['Lost', 'its node a is no longer in the cluster'],
  );
  assert.equal(status(makeVolume('data', { nodeName: 'b' }), []).nodeName, 'b');
});

test('planVolumeStatus() of one being deleted names who keeps it', () => {
  const volume = makeVolume('data', { metadata: { deletionTimestamp: secondsAgo(1) } });
  const ready = status(volume, [user('x', 'a')]).conditions?.find(({ type }) => type === 'Ready');
  assert.deepEqual(
    [ready?.status, ready?.reason, ready?.message],
    ['False', 'DeletionBlocked', 'will be deleted when container x no longer mount(s) it'],
  );
});

test('findUnsupportedField() names options and capacity', () => {
  assert.equal(findUnsupportedField(makeVolume('v')), undefined);
  assert.equal(findUnsupportedField(makeVolume('v', { hostPath: '/srv' })), undefined);
  assert.equal(findUnsupportedField(makeVolume('v', { options: { type: 'tmpfs' } })), 'spec.options');
  assert.equal(findUnsupportedField(makeVolume('v', { capacity: '1Gi' })), 'spec.capacity');
  assert.match(
    status(makeVolume('v', { capacity: '1Gi' }), []).conditions?.[0]?.message ?? '',
    /^spec.capacity is not supported/,
  );
});

test('listNames() stays short', () => {
  assert.equal(listNames(['a', 'b']), 'container a, b');
  assert.equal(listNames(['a', 'b', 'c', 'd', 'e', 'f', 'g']), 'container a, b, c, d, e and 2 more');
});

test('volumeNamesOf() counts a Volume once', () => {
  const container = makeContainer('c', {
    mounts: [{ mountPath: '/a', volume: 'v' }, { mountPath: '/b', volume: 'v' }, { mountPath: '/c' }],
  });
  assert.deepEqual(volumeNamesOf(container), ['v']);
});
