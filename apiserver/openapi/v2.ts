// OpenAPI v2: one document for everything, which kubectl before 1.29 and some tools still read.
import type { Resource } from '../resources/resource.ts';
import { isObject } from '../schema/objects.ts';
import { metaSchemas } from './builtin/meta.ts';
import {
  definitionName,
  gvkExtension,
  metaName,
  publishedList,
  publishedObject,
  publish,
  type Published,
} from './definitions.ts';

export interface OpenApiV2Document {
  readonly swagger: '2.0';
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, Published>>;
  readonly definitions: Readonly<Record<string, Published>>;
}

const ref = (name: string): Published => ({ $ref: `#/definitions/${name}` });

/** `GET /openapi/v2`. */
export function openApiV2Document(resources: readonly Resource[]): OpenApiV2Document {
  const definitions: Record<string, Published> = {};
  const paths: Record<string, Published> = {};
  for (const [name, schema] of Object.entries(metaSchemas)) definitions[metaName(name)] = toV2(publish(schema));
  for (const resource of resources) {
    definitions[definitionName(resource)] = toV2(publishedObject(resource, ref));
    definitions[definitionName({ ...resource, kind: resource.listKind })] = toV2(publishedList(resource, ref));
    Object.assign(paths, resourcePaths(resource));
  }
  return { swagger: '2.0', info: { title: 'windlass', version: 'v1.32' }, paths, definitions };
}

/** Old kubectl looks at the parameters of writes only: dryRun tells it that the server can check without keeping. */
function resourcePaths(resource: Resource): Record<string, Published> {
  const { group, version, plural, namespaced } = resource;
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const base = namespaced ? `${root}/namespaces/{namespace}/${plural}` : `${root}/${plural}`;
  const write = (action: string): Published => ({
    operationId: `${action}${group.replaceAll(/[^a-zA-Z0-9]/g, '')}${version}${resource.kind}`,
    parameters: ['dryRun', 'fieldManager', 'fieldValidation'].map((name) => ({ name, in: 'query', type: 'string' })),
    responses: { 200: { description: 'OK', schema: ref(definitionName(resource)) } },
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': gvkExtension(resource),
  });
  return {
    [base]: resource.verbs.includes('create') ? { post: write('post') } : {},
    [`${base}/{name}`]: {
      ...(resource.verbs.includes('update') ? { put: write('put') } : {}),
      ...(resource.verbs.includes('patch') ? { patch: write('patch') } : {}),
    },
  };
}

const KEPT = ['$ref', 'type', 'format', 'title', 'description', 'required', 'enum'];

/** What v2 can say of a schema: no null, no junctors; what has unknown fields is an object of anything. */
export function toV2(schema: Published): Published {
  const result: Published = {};
  for (const [key, value] of Object.entries(schema)) {
    if (KEPT.includes(key) || (key.startsWith('x-kubernetes-') && key !== 'x-kubernetes-validations'))
      result[key] = value;
  }
  if (schema['x-kubernetes-int-or-string'] === true) return { ...result, type: 'string', format: 'int-or-string' };
  if (schema['x-kubernetes-preserve-unknown-fields'] === true) {
    delete result['required'];
    return result;
  }
  const { properties, items, additionalProperties } = schema;
  if (isObject(properties)) {
    result['properties'] = Object.fromEntries(
      Object.entries(properties).map(([key, child]) => [key, toV2(child as Published)]),
    );
  }
  if (isObject(items)) result['items'] = toV2(items);
  if (isObject(additionalProperties)) result['additionalProperties'] = toV2(additionalProperties);
  return result;
}
