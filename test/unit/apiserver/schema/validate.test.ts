import { deepEqual, equal, ok } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse, parseDocument } from 'yaml';
import { applyDefaults } from '../../../../apiserver/schema/defaults.ts';
import { findDuplicateFields, findDuplicateYamlFields } from '../../../../apiserver/schema/duplicate-fields.ts';
import { describeFieldError } from '../../../../apiserver/schema/field-error.ts';
import { prune } from '../../../../apiserver/schema/prune.ts';
import type { StructuralSchema } from '../../../../apiserver/schema/structural.ts';
import { validateSchema } from '../../../../apiserver/schema/validate.ts';

const shown = (schema: StructuralSchema, value: unknown): string[] =>
  validateSchema(schema, value).map((error) => `${error.field}: ${describeFieldError(error)}`);
const field = (schema: StructuralSchema): StructuralSchema => ({ type: 'object', properties: { a: schema } });

interface Definition {
  spec: { versions: { schema: { openAPIV3Schema: StructuralSchema } }[] };
}
const containerSchema = (
  parse(readFileSync(new URL('../../../../crds/container.yaml', import.meta.url), 'utf8')) as Definition
).spec.versions[0]?.schema.openAPIV3Schema as StructuralSchema;

const CASES: [string, StructuralSchema, unknown, string[]][] = [
  [
    'maximum',
    { type: 'integer', maximum: 65535 },
    70000,
    ['a: Invalid value: 70000: a in body should be less than or equal to 65535'],
  ],
  [
    'exclusive minimum',
    { type: 'number', minimum: 0, exclusiveMinimum: true },
    0,
    ['a: Invalid value: 0: a in body should be greater than 0'],
  ],
  ['type', { type: 'integer' }, 'x', ['a: Invalid value: "string": a in body must be of type integer: "string"']],
  [
    'fraction for an integer',
    { type: 'integer' },
    1.5,
    ['a: Invalid value: "number": a in body must be of type integer: "number"'],
  ],
  ['null', { type: 'string' }, null, ['a: Invalid value: "null": a in body must be of type string: "null"']],
  ['nullable', { type: 'string', nullable: true }, null, []],
  ['enum', { type: 'string', enum: ['A', 'B'] }, 'x', ['a: Unsupported value: "x": supported values: "A", "B"']],
  [
    'pattern',
    { type: 'string', pattern: '^[a-z]+$' },
    'A',
    ['a: Invalid value: "A": a in body should match \'^[a-z]+$\''],
  ],
  ['too long', { type: 'string', maxLength: 2 }, 'abc', ['a: Too long: may not be more than 2 bytes']],
  ['length in code points', { type: 'string', maxLength: 2 }, '😀😀', []],
  [
    'too short',
    { type: 'string', minLength: 1 },
    '',
    ['a: Invalid value: "": a in body should be at least 1 chars long'],
  ],
  [
    'date-time',
    { type: 'string', format: 'date-time' },
    '2026-02-30T00:00:00Z',
    ['a: Invalid value: "2026-02-30T00:00:00Z": a in body must be of type date-time: "2026-02-30T00:00:00Z"'],
  ],
  ['good date-time', { type: 'string', format: 'date-time' }, '2026-02-28T00:00:00.123456Z', []],
  [
    'int32',
    { type: 'integer', format: 'int32' },
    2 ** 31,
    ['a: Invalid value: 2147483648: Checked value must be of type integer with format int32 in a'],
  ],
  [
    'too many',
    { type: 'array', items: { type: 'string' }, maxItems: 1 },
    ['a', 'b'],
    ['a: Too many: 2: must have at most 1 item'],
  ],
  [
    'too few',
    { type: 'array', items: {}, minItems: 1 },
    [],
    ['a: Invalid value: 0: a in body should have at least 1 items'],
  ],
  [
    'set',
    { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' },
    ['x', 'y', 'x'],
    ['a[2]: Duplicate value: "x"'],
  ],
  [
    'map',
    {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['port', 'protocol'],
      items: {
        type: 'object',
        properties: { port: { type: 'integer' }, protocol: { type: 'string', default: 'TCP' } },
      },
    },
    [{ port: 1 }, { protocol: 'TCP', port: 1 }, { port: 1, protocol: 'UDP' }],
    ['a[1]: Duplicate value: {"port":1,"protocol":"TCP"}'],
  ],
  [
    'int or string',
    { 'x-kubernetes-int-or-string': true },
    true,
    ['a: Invalid value: "boolean": a in body must be of type integer,string: "boolean"'],
  ],
  [
    'required below',
    { type: 'object', required: ['b'], properties: { b: { type: 'string' } } },
    {},
    ['a.b: Required value'],
  ],
  [
    'values of a map',
    { type: 'object', additionalProperties: { type: 'string' } },
    { 'x.y': 1 },
    ['a.x.y: Invalid value: "integer": a.x.y in body must be of type string: "integer"'],
  ],
  [
    'oneOf',
    { type: 'object', oneOf: [{ required: ['x'] }, { required: ['y'] }] },
    { x: 1, y: 1 },
    ['a: Invalid value: "": "a" must validate one and only one schema (oneOf). Found 2 valid alternatives'],
  ],
  ['not', { not: { enum: [1] } }, 1, ['a: Invalid value: "": "a" must not validate the schema (not)']],
  ['multiple', { type: 'number', multipleOf: 0.1 }, 0.3, []],
];

for (const [name, schema, value, expected] of CASES) {
  test(`validateSchema() speaks upstream's words: ${name}`, () => {
    deepEqual(shown(field(schema), { a: value }), expected);
  });
}

test('validateSchema() refuses integers that JSON rounded on the way in', () => {
  const schema = field({ type: 'integer', format: 'int64' });
  deepEqual(shown(schema, { a: 9007199254740991 }), []);
  const rule = 'a in body should be between -9007199254740991 and 9007199254740991, or it could not be kept exactly';
  deepEqual(shown(schema, JSON.parse('{"a":9007199254740993}')), [`a: Invalid value: 9007199254740992: ${rule}`]);
  deepEqual(shown(schema, JSON.parse('{"a":-9223372036854775808}')), [
    `a: Invalid value: -9223372036854776000: ${rule}`,
  ]);
});

test('validateSchema() stops at a bounded number of errors and bounds the time of patterns', () => {
  const errors = validateSchema(field({ type: 'array', items: { type: 'string' } }), { a: Array(200_000).fill(1) });
  ok(errors.length <= 100);
  const started = performance.now();
  validateSchema(field({ type: 'string', pattern: '^(a+)+$' }), { a: `${'a'.repeat(5000)}!` });
  ok(performance.now() - started < 1000);
});

test('names that every object inherits are unknown fields, not schema', () => {
  const object = JSON.parse('{"a":"x","__proto__":{"polluted":true},"constructor":1,"toString":2}') as object;
  deepEqual(prune(field({ type: 'string' }), object).toSorted(), ['__proto__', 'constructor', 'toString']);
  deepEqual(Object.keys(object), ['a']);
  equal(({} as { polluted?: boolean }).polluted, undefined);
});

test('prune() removes unknown fields at any depth and says where', () => {
  const object = {
    metadata: { name: 'x', colour: 'red' },
    spec: { image: 'x', imagee: 'y', ports: [{ containerPort: 80, hostport: 1 }] },
  };
  deepEqual(prune(containerSchema, object), ['metadata.colour', 'spec.imagee', 'spec.ports[0].hostport']);
  deepEqual(object, { metadata: { name: 'x' }, spec: { image: 'x', ports: [{ containerPort: 80 }] } });
});

test('prune() keeps preserved and embedded objects', () => {
  const schema: StructuralSchema = {
    type: 'object',
    properties: {
      free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true, properties: { known: { type: 'object' } } },
      inner: { type: 'object', 'x-kubernetes-embedded-resource': true, properties: { spec: { type: 'object' } } },
    },
  };
  const object = { free: { any: 1, known: { gone: 1 } }, inner: { apiVersion: 'v1', kind: 'X', metadata: {}, x: 1 } };
  deepEqual(prune(schema, object), ['free.known.gone', 'inner.x']);
});

test('applyDefaults() fills absent fields and nulls, and completes default objects', () => {
  const schema: StructuralSchema = {
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        default: {},
        properties: { n: { type: 'integer', default: 1 }, kept: { type: 'string', nullable: true, default: 'x' } },
      },
      list: { type: 'array', items: { type: 'object', properties: { p: { type: 'string', default: 'TCP' } } } },
      map: {
        type: 'object',
        additionalProperties: { type: 'object', properties: { q: { type: 'integer', default: 2 } } },
      },
    },
  };
  const empty = {};
  applyDefaults(schema, empty);
  deepEqual(empty, { spec: { n: 1, kept: 'x' } });
  const object = { spec: { n: null, kept: null }, list: [{}, 5], map: { a: {} } };
  applyDefaults(schema, object);
  deepEqual(object, { spec: { n: 1, kept: null }, list: [{ p: 'TCP' }, 5], map: { a: { q: 2 } } });
});

test('two objects never share one default', () => {
  const schema = field({ type: 'array', items: { type: 'string' }, default: ['x'] });
  const [one, two] = [{} as { a: string[] }, {} as { a: string[] }];
  applyDefaults(schema, one);
  applyDefaults(schema, two);
  one.a.push('y');
  deepEqual(two.a, ['x']);
});

test('a Container of the schema is valid after defaults', () => {
  const object = {
    apiVersion: 'windlass.dev/v1',
    kind: 'Container',
    metadata: { name: 'x' },
    spec: { image: 'busybox' },
  };
  applyDefaults(containerSchema, object);
  deepEqual(shown(containerSchema, object), []);
  equal((object.spec as { restartPolicy?: string }).restartPolicy, 'Always');
});

test('findDuplicateFields() finds fields written twice in one JSON object, with their paths', () => {
  const text = '{"a":1,"b":{"c":[{"d":1,"d":2,"e":"}{"},{"d":1}],"c":0},"a":{"\\"a":1,"\\"a":2}}';
  deepEqual(findDuplicateFields(text).toSorted(), ['a', 'a."a', 'b.c', 'b.c[0].d']);
  deepEqual(findDuplicateFields('[{"a":"a"},{"a":{"a":[]}}]'), []);
});

test('findDuplicateYamlFields() finds them in YAML', () => {
  const document = parseDocument('spec:\n  a: 1\n  a: 2\nlist:\n- b: 1\n  b: 2\n', { uniqueKeys: false });
  deepEqual(findDuplicateYamlFields(document), ['spec.a', 'list[0].b']);
});

test('validateSchema() lets through what the old object has, wherever the two can be compared', () => {
  const schema: StructuralSchema = {
    type: 'object',
    required: ['must'],
    properties: {
      must: { type: 'string' },
      spec: { type: 'object', properties: { mode: { type: 'string', enum: ['new'] }, size: { type: 'integer' } } },
      list: {
        type: 'array',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['name'],
        items: { type: 'object', properties: { name: { type: 'string' }, v: { type: 'integer', maximum: 5 } } },
      },
      set: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string', maxLength: 1 } },
    },
  };
  const errors = (object: object, old: object): string[] =>
    validateSchema(schema, object, old).map(({ field: path }) => path);
  const old = { must: 'x', spec: { mode: 'old', size: 1 }, list: [{ name: 'a', v: 9 }], set: ['long'] };
  deepEqual(errors(structuredClone(old), old), []);
  deepEqual(errors({ ...old, spec: { mode: 'old', size: 2 } }, old), []);
  deepEqual(errors({ ...old, spec: { mode: 'other', size: 1 } }, old), ['spec.mode']);
  deepEqual(
    errors(
      {
        ...old,
        list: [
          { name: 'b', v: 9 },
          { name: 'a', v: 9 },
        ],
      },
      old,
    ),
    ['list[0].v'],
  );
  // The items of a set have no names by which they could be found again.
  deepEqual(errors({ ...old, set: ['long', 'b'] }, old), ['set[0]']);
  deepEqual(errors({ ...old, must: undefined, list: [] }, old), ['must']);
});
