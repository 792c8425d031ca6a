// windlass.dev/v1 Archive: a tar on a node. Bytes come by an upload, which makes the object.
import { archiveKind, type Archive } from '../../../crds/archive.ts';
import type { FieldError } from '../../schema/field-error.ts';
import type { StructuralSchema } from '../../schema/structural.ts';
import type { Resource } from '../resource.ts';
import { defineBuiltin } from './define.ts';

const SCHEMA: StructuralSchema = {
  type: 'object',
  description: 'Archive is a tar that was uploaded to build an Image from, or to import.',
  required: ['digest', 'sizeBytes', 'nodes'],
  properties: {
    apiVersion: { type: 'string' },
    kind: { type: 'string' },
    metadata: { type: 'object' },
    digest: { type: 'string', pattern: '^sha256:[0-9a-f]{64}$', description: 'Digest of the tar, as it was sent.' },
    sizeBytes: { type: 'integer', minimum: 0, description: 'Its size.' },
    nodes: { type: 'array', items: { type: 'string' }, description: 'Names of the nodes that have it.' },
    expiresAt: {
      ...{ type: 'string', format: 'date-time', nullable: true },
      description: 'When it is removed; absent while an Image of its namespace names it.',
    },
  },
};

/** The resource. */
export function archiveResource(): Resource {
  return defineBuiltin({
    group: archiveKind.group,
    version: archiveKind.version,
    kind: archiveKind.kind,
    plural: archiveKind.plural,
    shortNames: [],
    categories: ['windlass'],
    namespaced: true,
    schema: SCHEMA,
    verbs: ['get', 'list', 'watch', 'update', 'patch', 'delete', 'deletecollection'],
    validate: (object, old) => check(object as unknown as Archive, old as unknown as Archive | undefined),
    columns: [
      { name: 'Digest', type: 'string', jsonPath: '.digest' },
      { name: 'Bytes', type: 'integer', jsonPath: '.sizeBytes' },
      { name: 'Nodes', type: 'string', jsonPath: '.nodes[*]' },
      { name: 'Expires', type: 'string', jsonPath: '.expiresAt' },
      { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
    ],
  });
}

/** What it stands for is what was sent, nothing else. */
function check(archive: Archive, old: Archive | undefined): FieldError[] {
  if (!old) {
    const detail = 'an archive is made by sending its bytes: windlass upload, or kubectl create --raw';
    return [{ type: 'FieldValueForbidden', field: 'metadata.name', detail }];
  }
  return (['digest', 'sizeBytes'] as const)
    .filter((field) => archive[field] !== old[field])
    .map((field) => ({ type: 'FieldValueInvalid', field, value: archive[field], detail: 'field is immutable' }));
}
