import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NamespaceOption } from '../../../../cri/messages.ts';
import {
  isSameMapping,
  mapText,
  planUserNamespace,
  toHostId,
} from '../../../../runtime-shim/oci-runtime/user-namespace.ts';

type Userns = NonNullable<NamespaceOption['usernsOptions']>;
const range = { containerId: 0, hostId: 1000, length: 100 };
const plan = (userns: Partial<Userns> | null, more: Partial<NamespaceOption> = {}) =>
  planUserNamespace({
    ...{ network: 'POD', pid: 'POD', ipc: 'POD', targetId: '' },
    ...more,
    usernsOptions: userns && { mode: 'POD', uids: [range], gids: [range], ...userns },
  });

test('planUserNamespace() takes one range from container id 0 on, or none at all', () => {
  const mapping = [{ containerID: 0, hostID: 1000, size: 100 }];
  assert.deepEqual(plan({}), { uids: mapping, gids: mapping });
  assert.equal(plan(null), undefined);
  assert.equal(planUserNamespace(undefined), undefined);
  assert.equal(plan({ mode: 'NODE' }), undefined);
  for (const bad of [
    { mode: 'CONTAINER' },
    { mode: 'TARGET' },
    { uids: [] },
    { gids: [range, range] },
    { uids: [{ ...range, containerId: 1 }] },
    { uids: [{ ...range, hostId: 0 }] },
    { uids: [{ ...range, length: 0 }] },
    { gids: [{ ...range, hostId: 2 ** 32 - 50 }] },
  ] as const) {
    assert.throws(() => plan(bad), { reason: 'Invalid' }, JSON.stringify(bad));
  }
});

test('planUserNamespace() refuses namespaces of others beside it, but for the network of the host', () => {
  for (const more of [{ pid: 'NODE' }, { ipc: 'NODE' }, { network: 'TARGET' }, { ipc: 'TARGET' }] as const) {
    assert.throws(() => plan({}, more), { reason: 'Invalid' }, JSON.stringify(more));
  }
  assert.ok(plan({}, { network: 'NODE' }));
});

test('toHostId(), mapText() and isSameMapping()', () => {
  const mapping = { containerID: 0, hostID: 1000, size: 100 };
  assert.deepEqual(
    [0, 99, 100, -1].map((id) => toHostId(id, mapping)),
    [1000, 1099, undefined, undefined],
  );
  assert.equal(mapText([mapping]), '0 1000 100\n');
  assert.ok(isSameMapping([range], [mapping]));
  assert.ok(!isSameMapping([{ ...range, length: 99 }], [mapping]));
  assert.ok(!isSameMapping([], [mapping]));
});
