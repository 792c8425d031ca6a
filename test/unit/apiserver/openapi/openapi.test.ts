import { deepEqual, equal, ok } from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { parse } from 'yaml';
import { builtinSchemas } from '../../../../apiserver/openapi/builtin/index.ts';
import { encodeOpenApiV2 } from '../../../../apiserver/openapi/v2-protobuf.ts';
import { openApiV2Document } from '../../../../apiserver/openapi/v2.ts';
import { openApiV3Document, openApiV3Index } from '../../../../apiserver/openapi/v3.ts';
import { resourceFromCrd, type CustomResourceDefinition } from '../../../../apiserver/schema/crd.ts';
import { prune } from '../../../../apiserver/schema/prune.ts';
import { validateSchema } from '../../../../apiserver/schema/validate.ts';
import { makeResource } from '../resource.ts';

const crds = new URL('../../../../crds/', import.meta.url);
const custom = readdirSync(crds)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => resourceFromCrd(parse(readFileSync(new URL(name, crds), 'utf8')) as CustomResourceDefinition, 'v1'));
const builtin = Object.entries(builtinSchemas).map(([key, schema]) => {
  const [group = '', kind = ''] = key.split('/');
  const plural = `${kind.toLowerCase()}s`;
  return makeResource({ group, kind, listKind: `${kind}List`, plural, schema, custom: false, status: false });
});
const all = [...builtin, ...custom];

interface Operation {
  parameters: { name: string }[];
  'x-kubernetes-action': string;
  'x-kubernetes-group-version-kind': { kind: string };
}
interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: {
    schemas: Record<string, { properties?: Record<string, object>; 'x-kubernetes-group-version-kind'?: object[] }>;
  };
}
const v3 = openApiV3Document('windlass.dev', 'v1', all) as unknown as Document;

/** All references in a document that nothing in it defines. */
function danglingRefs(document: object, prefix: string, names: readonly string[]): string[] {
  const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] ?? '');
  return [...new Set(refs)].filter((name) => !names.includes(name.replace(prefix, '')));
}

test('the v3 index has one document with a hash per group and version', () => {
  const { paths } = openApiV3Index(all, (group, version) => `${group}+${version}`);
  deepEqual(paths['apis/windlass.dev/v1'], {
    serverRelativeURL: '/openapi/v3/apis/windlass.dev/v1?hash=windlass.dev%2Bv1',
  });
  deepEqual(paths['api/v1'], { serverRelativeURL: '/openapi/v3/api/v1?hash=%2Bv1' });
});

test('a v3 document says what kubectl looks for', () => {
  const container = v3.components.schemas['dev.windlass.v1.Container'];
  deepEqual(container?.['x-kubernetes-group-version-kind'], [
    { group: 'windlass.dev', version: 'v1', kind: 'Container' },
  ]);
  deepEqual(Object.keys(container?.properties ?? {}), ['apiVersion', 'kind', 'metadata', 'spec', 'status']);
  const writes = Object.values(v3.paths).flatMap((item) =>
    Object.values(item).filter((each) => /^(post|put|patch)$/.test(each['x-kubernetes-action'] ?? '')),
  );
  ok(writes.length >= 15);
  for (const write of writes) {
    ok(write.parameters.some((parameter) => parameter.name === 'fieldValidation'));
    ok(write['x-kubernetes-group-version-kind'].kind);
  }
  ok(v3.paths['/apis/windlass.dev/v1/namespaces/{namespace}/services/{name}/scale']);
});

test('v3 documents are complete in themselves', () => {
  for (const [group, version] of [
    ['', 'v1'],
    ['windlass.dev', 'v1'],
    ['apiextensions.k8s.io', 'v1'],
  ] as const) {
    const document = openApiV3Document(group, version, all) as unknown as Document;
    deepEqual(danglingRefs(document, '#/components/schemas/', Object.keys(document.components.schemas)), []);
  }
  equal(openApiV3Document('nothing', 'v1', all), undefined);
});

test('the v2 document keeps the extensions and drops what v2 cannot say', () => {
  const document = openApiV2Document(all);
  deepEqual(danglingRefs(document, '#/definitions/', Object.keys(document.definitions)), []);
  const text = JSON.stringify(document);
  for (const word of ['"nullable"', '"oneOf"', '"anyOf"', 'x-kubernetes-validations']) ok(!text.includes(word), word);
  ok(text.includes('"x-kubernetes-patch-merge-key":"uid"'));
});

test('encodeOpenApiV2() can be read back by the definitions of the format', () => {
  const document = openApiV2Document(custom);
  const bytes = encodeOpenApiV2(document);
  const file = fileURLToPath(new URL('../../../../apiserver/openapi/openapi-v2.proto', import.meta.url));
  const type = protobuf.loadSync(file).lookupType('openapi.v2.Document');
  const read = type.toObject(type.decode(bytes)) as {
    definitions: {
      additionalProperties: {
        name: string;
        value: { vendorExtension?: { name: string; value: { yaml: string } }[] };
      }[];
    };
  };
  equal(read.definitions.additionalProperties.length, Object.keys(document.definitions).length);
  const volume = read.definitions.additionalProperties.find((each) => each.name === 'dev.windlass.v1.Volume');
  const gvk = volume?.value.vendorExtension?.find((each) => each.name === 'x-kubernetes-group-version-kind');
  deepEqual(JSON.parse(gvk?.value.yaml ?? ''), [{ group: 'windlass.dev', version: 'v1', kind: 'Volume' }]);
});

const OBJECTS: [string, object][] = [
  ['/ConfigMap', { data: { a: 'x', 'b.c': '' }, binaryData: { d: 'AP8B' }, immutable: true }],
  ['/Secret', { type: 'Opaque', data: { a: 'cHc=' }, stringData: null }],
  ['/Namespace', { spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } }],
  [
    '/Event',
    {
      involvedObject: { kind: 'X', name: 'y' },
      eventTime: null,
      firstTimestamp: '2026-11-23T00:00:00Z',
      count: 1,
      series: null,
    },
  ],
  [
    'coordination.k8s.io/Lease',
    { spec: { holderIdentity: 'x', leaseDurationSeconds: 40, renewTime: '2026-11-23T00:00:00.123456Z' } },
  ],
  [
    '/Node',
    {
      status: {
        capacity: { cpu: '2', memory: 1024 },
        daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
        conditions: [{ type: 'Ready', status: 'True', reason: 'R', message: '' }],
      },
    },
  ],
  [
    'authorization.k8s.io/SelfSubjectAccessReview',
    { spec: { resourceAttributes: { verb: 'get', resource: 'pods' } }, status: { allowed: false } },
  ],
  [
    'apiextensions.k8s.io/CustomResourceDefinition',
    parse(readFileSync(new URL('container.yaml', crds), 'utf8')) as object,
  ],
];
for (const [key, fields] of OBJECTS) {
  test(`the schema of ${key} takes a usual object whole`, () => {
    const schema = builtinSchemas[key] ?? {};
    const object = { metadata: { name: 'x', creationTimestamp: null }, ...fields };
    deepEqual(validateSchema(schema, object), []);
    deepEqual(prune(schema, structuredClone(object)), []);
  });
}

test('built-in schemas refuse wrong values', () => {
  const fields = (key: string, object: object): string[] =>
    validateSchema(builtinSchemas[key] ?? {}, object).map((error) => error.field);
  deepEqual(fields('/ConfigMap', { data: { a: 1 } }), ['data.a']);
  deepEqual(fields('/Secret', { data: { a: 'not base64!' } }), ['data.a']);
  deepEqual(fields('/Node', { spec: { taints: [{ effect: 'Maybe' }] } }), [
    'spec.taints[0].key',
    'spec.taints[0].effect',
  ]);
});
