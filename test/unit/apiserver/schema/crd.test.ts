import { deepEqual, equal, ok, throws } from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import type { StoredObject } from '../../../../apiserver/resources/resource.ts';
import {
  resourceFromCrd,
  validateCustomResourceDefinition,
  type CustomResourceDefinition,
} from '../../../../apiserver/schema/crd.ts';
import { describeFieldError } from '../../../../apiserver/schema/field-error.ts';

const makeCrd = (schema: object, version: object = {}): CustomResourceDefinition =>
  ({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'widgets.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural: 'widgets', kind: 'Widget' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema }, ...version }],
    },
  }) as CustomResourceDefinition;
const shown = (crd: object): string[] =>
  validateCustomResourceDefinition(crd).map((error) => `${error.field}: ${describeFieldError(error)}`);
const SCHEMA = 'spec.versions[0].schema.openAPIV3Schema';
const spec = (schema: object): object => ({ type: 'object', properties: { spec: schema } });

const crds = new URL('../../../../crds/', import.meta.url);
for (const file of readdirSync(crds).filter((name) => name.endsWith('.yaml'))) {
  test(`${file} is a valid definition and becomes a resource`, () => {
    const crd = parse(readFileSync(new URL(file, crds), 'utf8')) as CustomResourceDefinition;
    deepEqual(shown(crd), []);
    const resource = resourceFromCrd(crd, 'v1');
    equal(resource.plural, file.replace('.yaml', 's'));
    ok(resource.custom && resource.status && resource.namespaced);
  });
}

const BAD: [string, object, string][] = [
  [
    'no type',
    spec({ properties: {} }),
    `${SCHEMA}.properties[spec].type: Required value: must not be empty for specified object fields`,
  ],
  [
    'root type',
    { type: 'array', items: { type: 'string' } },
    `${SCHEMA}.type: Invalid value: "array": must be object at the root`,
  ],
  [
    'unknown type',
    spec({ type: 'text' }),
    `${SCHEMA}.properties[spec].type: Unsupported value: "text": supported values: "object", "array", "string", "integer", "number", "boolean"`,
  ],
  ['$ref', spec({ type: 'object', $ref: '#/x' }), `${SCHEMA}.properties[spec].$ref: Forbidden: $ref is not supported`],
  [
    'both kinds of properties',
    spec({ type: 'object', properties: { a: { type: 'string' } }, additionalProperties: { type: 'string' } }),
    `${SCHEMA}.properties[spec].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive`,
  ],
  [
    'closed object',
    spec({ type: 'object', additionalProperties: false }),
    `${SCHEMA}.properties[spec].additionalProperties: Forbidden: additionalProperties cannot be set to false`,
  ],
  [
    'list without items',
    spec({ type: 'array' }),
    `${SCHEMA}.properties[spec].items: Required value: must be specified`,
  ],
  [
    'map without keys',
    spec({ type: 'array', items: { type: 'object' }, 'x-kubernetes-list-type': 'map' }),
    `${SCHEMA}.properties[spec].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map`,
  ],
  [
    'bad default',
    spec({ type: 'integer', default: 'x' }),
    `${SCHEMA}.properties[spec].default: Invalid value: "string": in body must be of type integer: "string"`,
  ],
  [
    'default with unknown field',
    spec({ type: 'object', default: { a: 1 } }),
    `${SCHEMA}.properties[spec].default: Invalid value: {"a":1}: must not have unknown fields: a`,
  ],
  [
    'type in a junctor',
    spec({ type: 'object', oneOf: [{ type: 'object' }] }),
    `${SCHEMA}.properties[spec].oneOf[0].type: Forbidden: must be empty to be structural`,
  ],
  [
    'metadata',
    { type: 'object', properties: { metadata: { type: 'object', properties: { labels: { type: 'object' } } } } },
    `${SCHEMA}.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified`,
  ],
  [
    'CEL',
    spec({ type: 'object', 'x-kubernetes-validations': [{ rule: 'self +' }] }),
    `${SCHEMA}.properties[spec].x-kubernetes-validations[0].rule: Invalid value: "self +": compilation failed: ERROR: <input>:1:7: Unexpected token: EOF`,
  ],
];
for (const [name, schema, expected] of BAD) {
  test(`validateCustomResourceDefinition() refuses: ${name}`, () => deepEqual(shown(makeCrd(schema)), [expected]));
}

test('validateCustomResourceDefinition() refuses patterns that are not RE2', () => {
  ok(shown(makeCrd(spec({ type: 'string', pattern: '(?=x)' })))[0]?.includes('must be a valid regular expression'));
});

test('validateCustomResourceDefinition() survives any JSON', () => {
  for (const odd of [
    {},
    { spec: null },
    { spec: [] },
    { spec: { versions: 5, names: 'x' } },
    { spec: { versions: [null, 5] } },
  ]) {
    ok(shown(odd).length > 0);
  }
  let deep: object = { type: 'object' };
  for (let level = 0; level < 2000; level += 1) deep = { type: 'object', properties: { a: deep } };
  ok(shown(makeCrd(deep)).some((text) => text.includes('nested deeper')));
  const polluted = JSON.parse('{"type":"object","properties":{"__proto__":{"type":"object","default":{}}}}') as object;
  deepEqual(shown(makeCrd(polluted)), []);
});

test('validateCustomResourceDefinition() checks names, versions, columns and paths', () => {
  const crd = makeCrd(
    { type: 'object' },
    {
      storage: false,
      additionalPrinterColumns: [{ name: 'X', type: 'text', jsonPath: '.a[' }],
      selectableFields: [{ jsonPath: '.a[*]' }],
      subresources: { scale: { specReplicasPath: '.spec.replicas' } },
    },
  );
  const renamed = { ...crd, metadata: { name: 'other' }, spec: { ...crd.spec, conversion: { strategy: 'Webhook' } } };
  deepEqual(
    shown(renamed).map((text) => text.split(': ').slice(0, 2).join(': ')),
    [
      'metadata.name: Invalid value',
      'spec.conversion.strategy: Unsupported value',
      'spec.versions: Invalid value',
      'spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value',
      'spec.versions[0].additionalPrinterColumns[0].type: Unsupported value',
      'spec.versions[0].selectableFields[0].jsonPath: Invalid value',
      'spec.versions[0].subresources.scale.statusReplicasPath: Required value',
    ],
  );
});

test('resourceFromCrd() fills in names, age and selectable fields', () => {
  const crd = makeCrd(spec({ type: 'object', properties: { a: { type: 'string' } } }), {
    selectableFields: [{ jsonPath: '.spec.a' }],
    deprecated: true,
  });
  const resource = resourceFromCrd(crd, 'v1');
  equal(resource.listKind, 'WidgetList');
  equal(resource.singular, 'widget');
  equal(resource.status, false);
  deepEqual(
    resource.columns.map((column) => column.name),
    ['Age'],
  );
  const object = { spec: { a: 'x' } } as unknown as StoredObject;
  deepEqual(resource.selectableFields?.(object), { 'spec.a': 'x' });
  equal(resource.selectableFields?.(object), resource.selectableFields?.(object), 'read once per object');
  deepEqual(resource.deprecation, 'example.com/v1 Widget is deprecated');
  throws(() => resourceFromCrd(crd, 'v2'), /no version v2/);
});
