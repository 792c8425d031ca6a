import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { markDeleted, parseDeleteOptions } from '../../../../apiserver/admission/deletion.ts';
import { generateName } from '../../../../apiserver/admission/generate-name.ts';
import { validateMetadata } from '../../../../apiserver/admission/object-meta.ts';
import { defineBuiltin, OPEN_SCHEMA } from '../../../../apiserver/resources/builtin/define.ts';
import { toCoreEvent, toNewEvent } from '../../../../apiserver/resources/builtin/event.ts';
import type { StoredObject } from '../../../../apiserver/resources/resource.ts';

const resource = defineBuiltin({
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  namespaced: true,
  schema: OPEN_SCHEMA,
});
const context = { user: { name: 'a', groups: [] }, dryRun: false, now: 1_000_000 };
const object = (metadata: object): StoredObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'x', ...metadata },
});

describe('validateMetadata()', () => {
  const fields = (metadata: object): string[] =>
    validateMetadata(object(metadata), resource).map((error) => error.field);
  it('accepts what upstream accepts', () => {
    assert.deepEqual(fields({ name: 'a.b-c', labels: { 'x.y/z': 'A_b.c' }, finalizers: ['windlass.dev/node'] }), []);
  });
  it('names the field that is wrong', () => {
    assert.deepEqual(fields({ name: 'A' }), ['metadata.name']);
    assert.deepEqual(fields({ name: 'a'.repeat(254) }), ['metadata.name']);
    assert.deepEqual(fields({ name: '../x' }), ['metadata.name']);
    assert.deepEqual(fields({ labels: { '-a': 'b' } }), ['metadata.labels']);
    assert.deepEqual(fields({ labels: { a: 'b\n' } }), ['metadata.labels']);
    assert.deepEqual(fields({ annotations: { a: 'x'.repeat(262_145) } }), ['metadata.annotations']);
    assert.deepEqual(fields({ ownerReferences: [{ apiVersion: 'v1', kind: 'A', name: 'a' }] }), [
      'metadata.ownerReferences[0].uid',
    ]);
    const owner = { apiVersion: 'v1', kind: 'A', name: 'a', uid: '1', controller: true };
    assert.deepEqual(fields({ ownerReferences: [owner, { ...owner, uid: '2' }] }), ['metadata.ownerReferences']);
  });
});

describe('markDeleted()', () => {
  it('lets go at once what nothing holds', () => {
    assert.equal(markDeleted(resource, object({}), {}, context), true);
  });
  it('marks once, and only shortens the grace period', () => {
    const held = object({ finalizers: ['a.b/c'], generation: 3 });
    assert.equal(markDeleted(resource, held, { gracePeriodSeconds: 30 }, context), false);
    assert.deepEqual(
      [held.metadata.deletionTimestamp, held.metadata.deletionGracePeriodSeconds, held.metadata.generation],
      ['1970-01-01T00:16:40Z', 30, 4],
    );
    markDeleted(resource, held, { gracePeriodSeconds: 60 }, { ...context, now: 2_000_000 });
    assert.deepEqual(
      [held.metadata.deletionTimestamp, held.metadata.deletionGracePeriodSeconds, held.metadata.generation],
      ['1970-01-01T00:16:40Z', 30, 4],
    );
    markDeleted(resource, held, { gracePeriodSeconds: 0 }, context);
    assert.equal(held.metadata.deletionGracePeriodSeconds, 0);
  });
  it('keeps the finalizer of the policy that was asked for last', () => {
    const held = object({});
    markDeleted(resource, held, { propagationPolicy: 'Foreground' }, context);
    markDeleted(resource, held, { propagationPolicy: 'Orphan' }, context);
    assert.deepEqual(held.metadata.finalizers, ['orphan']);
  });
});

describe('parseDeleteOptions()', () => {
  it('reads body and query', () => {
    const query = new URLSearchParams('gracePeriodSeconds=5');
    const body = { propagationPolicy: 'Orphan', gracePeriodSeconds: 9, dryRun: ['All'] };
    assert.deepEqual(parseDeleteOptions(body, query), {
      gracePeriodSeconds: 5,
      propagationPolicy: 'Orphan',
      dryRun: ['All'],
    });
    assert.throws(() => parseDeleteOptions({ gracePeriodSeconds: -1 }, new URLSearchParams()));
    assert.throws(() => parseDeleteOptions({ propagationPolicy: 'x' }, new URLSearchParams()));
    assert.throws(() => parseDeleteOptions({ dryRun: 'All' }, new URLSearchParams()), /dryRun: must be a list/);
    assert.throws(() => parseDeleteOptions({ preconditions: 'x' }, new URLSearchParams()), /must be an object/);
  });
});

describe('generateName()', () => {
  it('adds five characters and stays within a label', () => {
    assert.match(generateName('a-'), /^a-[a-z0-9]{5}$/);
    assert.equal(generateName('x'.repeat(100)).length, 63);
  });
});

describe('events', () => {
  it('keep everything on the way to the other group and back', () => {
    const event: StoredObject = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: 'e' },
      involvedObject: { name: 'a' },
      message: 'm',
      reportingComponent: 'c',
      count: 2,
      type: 'Normal',
    };
    assert.deepEqual(toCoreEvent(toNewEvent(event)), event);
    assert.equal(toNewEvent(event)['note'], 'm');
  });
});
