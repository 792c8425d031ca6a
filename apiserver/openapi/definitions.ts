// Names and schemas as both OpenAPI documents publish them.
import type { Resource } from '../resources/resource.ts';
import { isObject } from '../schema/objects.ts';
import type { StructuralSchema } from '../schema/structural.ts';
import { META_PREFIX } from './builtin/meta.ts';

export type Published = Record<string, unknown>;

export interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** `dev.windlass.v1.Container`; built-in kinds have upstream's names, which old kubectl has in its tables. */
export function definitionName({ group, version, kind }: GroupVersionKind): string {
  if (group === '' || !group.includes('.')) return `io.k8s.api.${group === '' ? 'core' : group}.${version}.${kind}`;
  if (group === 'apiextensions.k8s.io')
    return `io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.${version}.${kind}`;
  if (group.endsWith('.k8s.io')) return `io.k8s.api.${group.split('.')[0]}.${version}.${kind}`;
  return `${group.split('.').toReversed().join('.')}.${version}.${kind}`;
}

export const metaName = (name: string): string => `${META_PREFIX}.${name}`;

/** The extension by which clients find the schema of a kind. */
export const gvkExtension = ({
  group,
  version,
  kind,
}: GroupVersionKind): { group: string; version: string; kind: string } => ({
  group,
  version,
  kind,
});

/** The schema of whole objects: `metadata` is the shared one, whatever the kind says. */
export function publishedObject(resource: Resource, ref: (name: string) => Published): Published {
  const schema = publish(resource.schema);
  const properties = isObject(schema['properties']) ? schema['properties'] : {};
  return {
    ...schema,
    properties: {
      apiVersion: { type: 'string', description: 'Group and version of this form of the object.' },
      kind: { type: 'string', description: 'What the object is.' },
      ...properties,
      metadata: ref(metaName('ObjectMeta')),
    },
    'x-kubernetes-group-version-kind': [gvkExtension(resource)],
  };
}

/** The schema of a list of `resource`. */
export function publishedList(resource: Resource, ref: (name: string) => Published): Published {
  return {
    type: 'object',
    description: `A list of ${resource.kind}.`,
    required: ['items'],
    properties: {
      apiVersion: { type: 'string', description: 'Group and version of the list.' },
      kind: { type: 'string', description: 'What the list is.' },
      metadata: ref(metaName('ListMeta')),
      items: { type: 'array', description: 'The objects.', items: ref(definitionName(resource)) },
    },
    'x-kubernetes-group-version-kind': [gvkExtension({ ...resource, kind: resource.listKind })],
  };
}

/** A structural schema for readers: null is not shown for built-in kinds, int-or-string says both types. */
export function publish(schema: StructuralSchema): Published {
  return { ...schema };
}
