// OpenAPI v3: an index, and one document per group and version.
// https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3
import type { Resource, Verb } from '../resources/resource.ts';
import { groupResources, subresourcesOf } from '../discovery/resource-groups.ts';
import { builtinSchemas } from './builtin/index.ts';
import { metaSchemas } from './builtin/meta.ts';
import {
  definitionName,
  gvkExtension,
  metaName,
  publishedList,
  publishedObject,
  publish,
  type GroupVersionKind,
  type Published,
} from './definitions.ts';

export interface OpenApiV3Index {
  readonly paths: Readonly<Record<string, { readonly serverRelativeURL: string }>>;
}

/** `GET /openapi/v3`. `hashOf` names the present state of one document, so that clients may cache it for long. */
export function openApiV3Index(
  resources: readonly Resource[],
  hashOf: (group: string, version: string) => string,
): OpenApiV3Index {
  const entries = groupResources(resources).flatMap(({ group, versions }) =>
    versions.map(({ version }) => {
      const path = group === '' ? `api/${version}` : `apis/${group}/${version}`;
      const serverRelativeURL = `/openapi/v3/${path}?hash=${encodeURIComponent(hashOf(group, version))}`;
      return [path, { serverRelativeURL }] as const;
    }),
  );
  return { paths: Object.fromEntries(entries) };
}

const ref = (name: string): Published => ({ $ref: `#/components/schemas/${name}` });
// Siblings of $ref are ignored by OpenAPI 3.0 readers, allOf keeps a description beside it.
const describedRef = (name: string): Published =>
  name.endsWith('Meta') ? { description: metaDescription(name), allOf: [ref(name)], default: {} } : ref(name);

const metaDescription = (name: string): string => metaSchemas[name.split('.').at(-1) ?? '']?.description ?? '';

/** `GET /openapi/v3/apis/<group>/<version>`; undefined when nothing is served in it. */
export function openApiV3Document(
  group: string,
  version: string,
  resources: readonly Resource[],
): Published | undefined {
  const served = resources.filter((each) => each.group === group && each.version === version);
  if (served.length === 0) return undefined;
  const schemas: Published = {};
  const paths: Published = {};
  for (const [name, schema] of Object.entries(metaSchemas)) schemas[metaName(name)] = publish(schema);
  for (const name of ['DeleteOptions', 'Status']) {
    schemas[metaName(name)] = {
      ...publish(metaSchemas[name] ?? {}),
      'x-kubernetes-group-version-kind': [{ group: '', version: 'v1', kind: name }],
    };
  }
  for (const resource of served) {
    schemas[definitionName(resource)] = publishedObject(resource, describedRef);
    schemas[definitionName({ ...resource, kind: resource.listKind })] = publishedList(resource, describedRef);
    Object.assign(paths, resourcePaths(resource, schemas));
  }
  return {
    openapi: '3.0.0',
    info: { title: 'windlass', version: 'v1' },
    paths,
    components: { schemas },
  };
}

function resourcePaths(resource: Resource, schemas: Published): Published {
  const { group, version, plural, namespaced } = resource;
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const base = namespaced ? `${root}/namespaces/{namespace}/${plural}` : `${root}/${plural}`;
  const scope = namespaced ? [pathParameter('namespace')] : [];
  const has = (verb: Verb): boolean => resource.verbs.includes(verb);
  const list = operation(resource, 'list', { answer: definitionName({ ...resource, kind: resource.listKind }) });
  const paths: Published = {
    [base]: {
      parameters: scope,
      ...(has('list') ? { get: list } : {}),
      ...(has('create') ? { post: operation(resource, 'post', { body: 'object' }) } : {}),
      ...(has('deletecollection') ? { delete: operation(resource, 'deletecollection', {}) } : {}),
    },
    [`${base}/{name}`]: {
      parameters: [pathParameter('name'), ...scope],
      ...(has('get') ? { get: operation(resource, 'get', {}) } : {}),
      ...(has('update') ? { put: operation(resource, 'put', { body: 'object' }) } : {}),
      ...(has('patch') ? { patch: operation(resource, 'patch', { body: 'patch' }) } : {}),
      ...(has('delete') ? { delete: operation(resource, 'delete', {}) } : {}),
    },
  };
  if (namespaced && has('list')) paths[`${root}/${plural}`] = { get: list };
  for (const sub of subresourcesOf(resource)) {
    const known =
      sub.kind === resource.kind && sub.group === group ? undefined : builtinSchemas[`${sub.group}/${sub.kind}`];
    if (known)
      schemas[definitionName(sub)] = { ...publish(known), 'x-kubernetes-group-version-kind': [gvkExtension(sub)] };
    const answer = definitionName(known ? sub : resource);
    paths[`${base}/{name}/${sub.name}`] = {
      parameters: [pathParameter('name'), ...scope],
      ...(sub.verbs.includes('get') ? { get: operation({ ...sub, custom: resource.custom }, 'get', { answer }) } : {}),
      ...(sub.verbs.includes('create')
        ? { post: operation({ ...sub, custom: resource.custom }, 'post', { body: 'object', answer }) }
        : {}),
      ...(sub.verbs.includes('update')
        ? { put: operation({ ...sub, custom: resource.custom }, 'put', { body: 'object', answer }) }
        : {}),
      ...(sub.verbs.includes('patch')
        ? { patch: operation({ ...sub, custom: resource.custom }, 'patch', { body: 'patch', answer }) }
        : {}),
    };
  }
  return paths;
}

// kubectl reads here whether a kind takes strategic merge patches; custom ones do not.
const patchTypes = (custom: boolean): string[] => [
  'application/json-patch+json',
  'application/merge-patch+json',
  ...(custom ? [] : ['application/strategic-merge-patch+json']),
];

interface Exchange {
  readonly body?: 'object' | 'patch';
  /** Definition of the answer; the object itself unless said. */
  readonly answer?: string;
}

function operation(
  kind: GroupVersionKind & { readonly custom?: boolean },
  action: string,
  { body, answer }: Exchange,
): Published {
  const name = answer ?? definitionName(kind);
  const json = (schema: Published): Published => ({ 'application/json': { schema } });
  const isWrite = body !== undefined;
  const bodyContent =
    body === 'patch'
      ? Object.fromEntries(patchTypes(kind.custom === true).map((type) => [type, { schema: ref(metaName('Patch')) }]))
      : json(ref(name));
  return {
    description: `${action} ${kind.kind}`,
    operationId: `${action}${kind.group.replaceAll(/[^a-zA-Z0-9]/g, '')}${kind.version}${kind.kind}`,
    parameters: isWrite ? WRITE_PARAMETERS : action === 'list' ? LIST_PARAMETERS : [],
    ...(isWrite ? { requestBody: { required: true, content: bodyContent } } : {}),
    responses: {
      200: { description: 'OK', content: json(ref(action.startsWith('delete') ? metaName('Status') : name)) },
    },
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': gvkExtension(kind),
  };
}

const query = (name: string, type: string, description: string): Published => ({
  name,
  in: 'query',
  description,
  schema: { type, uniqueItems: true },
});

// kubectl looks for fieldValidation here to know that the server checks fields, and does not do so itself then.
const WRITE_PARAMETERS: readonly Published[] = [
  query('dryRun', 'string', 'All: check only, keep nothing.'),
  query('fieldManager', 'string', 'Who writes.'),
  query('fieldValidation', 'string', 'What happens to unknown and duplicate fields: Ignore, Warn or Strict.'),
];
const LIST_PARAMETERS: readonly Published[] = [
  query('labelSelector', 'string', 'Only objects with these labels.'),
  query('fieldSelector', 'string', 'Only objects with these fields.'),
  query('limit', 'integer', 'At most so many objects at once.'),
  query('continue', 'string', 'Where the next page begins.'),
  query('resourceVersion', 'string', 'The state to show, or to watch from.'),
  query('watch', 'boolean', 'Follow changes.'),
  query('timeoutSeconds', 'integer', 'When a watch ends.'),
];

const pathParameter = (name: string): Published => ({
  name,
  in: 'path',
  required: true,
  description: name === 'name' ? 'Name of the object.' : 'Namespace of the object.',
  schema: { type: 'string', uniqueItems: true },
});
