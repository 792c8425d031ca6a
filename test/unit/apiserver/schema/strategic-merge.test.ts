import { deepEqual, equal, throws } from 'node:assert/strict';
import { test } from 'node:test';
import { applyStrategicMerge } from '../../../../apiserver/schema/strategic-merge.ts';
import type { StructuralSchema } from '../../../../apiserver/schema/structural.ts';

const schema: StructuralSchema = {
  type: 'object',
  properties: {
    data: { type: 'object', additionalProperties: { type: 'string' } },
    atomic: { type: 'array', items: { type: 'string' } },
    set: { type: 'array', items: { type: 'string' }, 'x-kubernetes-patch-strategy': 'merge' },
    taints: {
      type: 'array',
      'x-kubernetes-patch-strategy': 'merge',
      'x-kubernetes-patch-merge-key': 'key',
      items: { type: 'object', properties: { key: { type: 'string' }, value: { type: 'string' } } },
    },
  },
};

const CASES: [string, object, object, object][] = [
  [
    'merges objects and deletes by null',
    { data: { a: '1', b: '2' } },
    { data: { a: null, c: '3' } },
    { data: { b: '2', c: '3' } },
  ],
  ['replaces lists without a strategy', { atomic: ['a', 'b'] }, { atomic: ['c'] }, { atomic: ['c'] }],
  ['merges lists of scalars', { set: ['a', 'b'] }, { set: ['b', 'c'] }, { set: ['a', 'b', 'c'] }],
  ['removes scalars', { set: ['a', 'b'] }, { '$deleteFromPrimitiveList/set': ['a'], set: ['z'] }, { set: ['b', 'z'] }],
  [
    'merges lists by key',
    { taints: [{ key: 'a', value: '1' }, { key: 'b' }] },
    { taints: [{ key: 'a', value: '2' }, { key: 'c' }] },
    {
      taints: [{ key: 'a', value: '2' }, { key: 'b' }, { key: 'c' }],
    },
  ],
  [
    'deletes an item',
    { taints: [{ key: 'a' }, { key: 'b' }] },
    { taints: [{ $patch: 'delete', key: 'a' }] },
    { taints: [{ key: 'b' }] },
  ],
  [
    'replaces a list',
    { taints: [{ key: 'a' }] },
    { taints: [{ key: 'z' }, { $patch: 'replace' }] },
    { taints: [{ key: 'z' }] },
  ],
  ['replaces an object', { data: { a: '1' } }, { data: { $patch: 'replace', b: '2' } }, { data: { b: '2' } }],
  ['deletes an object', { data: { a: '1' }, atomic: [] }, { data: { $patch: 'delete' } }, { atomic: [] }],
  [
    'retains keys',
    { data: { a: '1', b: '2' } },
    { data: { $retainKeys: ['a', 'c'], c: '3' } },
    { data: { a: '1', c: '3' } },
  ],
  [
    'sets the order',
    { taints: [{ key: 'a' }, { key: 'b' }] },
    {
      '$setElementOrder/taints': [{ key: 'c' }, { key: 'b' }, { key: 'a' }],
      taints: [{ key: 'c' }],
    },
    { taints: [{ key: 'c' }, { key: 'b' }, { key: 'a' }] },
  ],
  [
    'sets the order of what kubectl keeps',
    { taints: [{ key: 'a' }, { key: 'b' }] },
    {
      '$setElementOrder/taints': [{ key: 'b' }],
      taints: [{ $patch: 'delete', key: 'a' }],
    },
    { taints: [{ key: 'b' }] },
  ],
  [
    'merges finalizers and owners of any kind',
    { metadata: { finalizers: ['a'], ownerReferences: [{ uid: '1' }] } },
    {
      metadata: { finalizers: ['b'], ownerReferences: [{ uid: '2' }] },
    },
    { metadata: { finalizers: ['a', 'b'], ownerReferences: [{ uid: '1' }, { uid: '2' }] } },
  ],
];

for (const [name, original, patch, expected] of CASES) {
  test(`applyStrategicMerge() ${name}`, () => {
    const before = structuredClone(original);
    deepEqual(applyStrategicMerge(schema, original, patch), expected);
    deepEqual(original, before);
  });
}

test('applyStrategicMerge() refuses items without their key and unknown directives', () => {
  throws(
    () => applyStrategicMerge(schema, {}, { taints: [{ value: 'x' }] }),
    /does not contain declared merge key: key/,
  );
  throws(() => applyStrategicMerge(schema, {}, { taints: ['x'] }), /merge key/);
  throws(() => applyStrategicMerge(schema, {}, { data: { $patch: 'explode' } }), /unknown \$patch "explode"/);
  throws(() => applyStrategicMerge(schema, {}, { data: { $retainKeys: 'a' } }), /must be a list/);
});

test('a patch cannot reach a prototype', () => {
  const patch = JSON.parse(
    '{"data":{"__proto__":{"polluted":"yes"},"constructor":{"prototype":{"polluted":"yes"}}}}',
  ) as object;
  applyStrategicMerge(schema, { data: {} }, patch);
  equal(({} as { polluted?: string }).polluted, undefined);
});
