// A Resource for tests: a namespaced windlass kind with every field set.
import type { Resource } from '../../../apiserver/resources/resource.ts';

/** A complete Resource; `changes` replace its fields. */
export function makeResource(changes: Partial<Resource> = {}): Resource {
  return {
    group: 'windlass.dev',
    version: 'v1',
    kind: 'Container',
    listKind: 'ContainerList',
    plural: 'containers',
    singular: 'container',
    shortNames: ['ctr'],
    categories: ['all'],
    namespaced: true,
    verbs: ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'],
    custom: true,
    schema: { type: 'object' },
    columns: [],
    status: true,
    ...changes,
  };
}
