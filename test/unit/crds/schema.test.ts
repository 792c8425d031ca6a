import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import type { StructuralSchema } from '../../../apiserver/schema/structural.ts';
import { validateSchema } from '../../../apiserver/schema/validate.ts';
import { toDefinition } from '../../../crds/definition.ts';
import { renderFiles, staleFiles } from '../../../crds/generate.ts';
import { KINDS, ContainerSpec, NetworkSpec, ServiceSpec, VolumeSpec } from '../../../crds/index.ts';
import { check, schemaOf } from './check-object.ts';

const ROOT = join(import.meta.dirname, '../../..');

test('the generated files are what the schemas say', () => {
  assert.deepEqual(staleFiles(), [], 'run "npm run generate"');
  assert.equal(renderFiles().size, 10);
});

/** Every node of the schema with its path. */
function* nodes(schema: StructuralSchema, path: string): Generator<[string, StructuralSchema]> {
  yield [path, schema];
  for (const [name, property] of Object.entries(schema.properties ?? {})) yield* nodes(property, `${path}.${name}`);
  if (schema.items) yield* nodes(schema.items, `${path}[]`);
  if (typeof schema.additionalProperties === 'object') yield* nodes(schema.additionalProperties, `${path}.*`);
}

for (const { kind } of KINDS) {
  test(`every field of ${kind} has a type and a description that is a sentence`, () => {
    const wrong = [...nodes(schemaOf(kind), kind)].filter(([path, node]) => {
      if (node.type === undefined && node['x-kubernetes-int-or-string'] !== true) return true;
      const needsText = !path.endsWith('[]') && !path.endsWith('.*') && path !== `${kind}.metadata`;
      return needsText && !/^.{7,}[.:)]$/.test(node.description ?? '');
    });
    assert.deepEqual(
      wrong.map(([path]) => path),
      [],
    );
  });

  test(`the schema of ${kind} is structural`, () => {
    for (const [path, node] of nodes(schemaOf(kind), kind)) {
      assert.ok(!(node.properties && node.additionalProperties), path);
      for (const key of ['anyOf', 'oneOf', 'allOf', 'not', '$ref', 'const'] as const)
        assert.ok(!(key in node), `${path}.${key}`);
      if (node['x-kubernetes-list-type'] === 'map') {
        for (const key of node['x-kubernetes-list-map-keys'] ?? []) {
          const isAlwaysThere =
            node.items?.required?.includes(key) || node.items?.properties?.[key]?.default !== undefined;
          assert.ok(isAlwaysThere, `${path}: key ${key} may be absent`);
        }
      }
      if (node.type === 'array')
        assert.ok(node.maxItems !== undefined && node['x-kubernetes-list-type'], `${path} has no bound or list type`);
    }
  });

  test(`docs/api of ${kind} is an object that the server takes`, () => {
    const text = readFileSync(join(ROOT, 'docs/api', `${kind.toLowerCase()}.yaml`), 'utf8');
    const object = parse(text) as { kind: string; spec: unknown };
    assert.equal(object.kind, kind);
    assert.deepEqual(check(kind, object.spec), []);
  });

  test(`the defaults of ${kind} are valid`, () => {
    for (const [path, node] of nodes(schemaOf(kind), kind)) {
      if (node.enum && node.default !== undefined) assert.ok(node.enum.includes(node.default), path);
    }
  });
}

test('columns, scale and selectable fields of each definition name fields that the schema has', () => {
  for (const kind of KINDS) {
    const paths = new Set([...nodes(schemaOf(kind.kind), '')].map(([path]) => path));
    const version = toDefinition(kind).spec.versions[0];
    const columns = (version?.additionalPrinterColumns ?? []) as { jsonPath: string }[];
    const named = [...columns, ...(version?.selectableFields ?? [])].map(({ jsonPath }) => jsonPath);
    named.push(...Object.values(kind.scale ?? {}));
    for (const path of named) {
      const plain = path.replace(/\['(\w+)',.*\]/, '.$1').replace(/\[[^\]]*\]/g, '[]');
      assert.ok(paths.has(plain) || plain.startsWith('.metadata.'), `${kind.kind}: ${path}`);
    }
    assert.ok((version?.selectableFields?.length ?? 0) <= 8, 'a CRD may have 8 selectable fields');
  }
});

test('the defaults of zod and of the server are the same', () => {
  assert.deepEqual(VolumeSpec.parse({}), { driver: 'local', reclaimPolicy: 'Delete' });
  assert.deepEqual(NetworkSpec.parse({}), {
    driver: 'bridge',
    ipv6: false,
    internal: false,
    isolated: false,
    encrypted: false,
  });
  const container = ContainerSpec.parse({ image: 'busybox' });
  assert.deepEqual(container.logging, { maxSize: '10Mi', maxFiles: 5 });
  assert.equal(container.terminationGracePeriodSeconds, 10);
  const service = ServiceSpec.parse({ template: { spec: { image: 'busybox' } } });
  assert.equal(service.updateStrategy.parallelism, 1);
  assert.equal(service.template.spec.restartPolicy, 'Always');
});

test('what a Container says of its addresses are addresses', () => {
  const complaintsOf = (status: object): string[] =>
    validateSchema(schemaOf('Container'), {
      ...{ apiVersion: 'windlass.dev/v1', kind: 'Container', metadata: { name: 'x' }, spec: { image: 'i' }, status },
    }).map(({ field }) => field);
  const network = (more: object): object => ({ networks: [{ name: 'a', ...more }] });
  const fine = { ipv4Address: '10.0.0.5', macAddress: '02:42:0a:00:00:05', gateway: '10.0.0.1' };
  assert.deepEqual(complaintsOf({ hostIP: 'fd00::5', ...network(fine) }), []);
  assert.deepEqual(complaintsOf({ hostIP: 'node' }), ['status.hostIP']);
  for (const [field, wrong] of Object.entries({ ipv4Address: '10.0.0', macAddress: 'x', gateway: '10.0.0.1; drop' })) {
    assert.deepEqual(complaintsOf(network({ ...fine, [field]: wrong })), [`status.networks[0].${field}`]);
  }
});
