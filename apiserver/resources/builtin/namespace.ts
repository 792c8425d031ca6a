import type { Resource, StoredObject } from '../resource.ts';
import { defineBuiltin } from './define.ts';
import type { StructuralSchema } from '../../schema/structural.ts';

const NAME_LABEL = 'kubernetes.io/metadata.name';
export const KUBERNETES_FINALIZER = 'kubernetes';

interface Namespace extends StoredObject {
  spec?: { finalizers?: string[] };
  status?: { phase?: string };
}

/** v1 Namespace: lives until its spec.finalizers are gone, which the namespace controller sees to. */
export function namespaceResource(schema: StructuralSchema): Resource {
  return defineBuiltin({
    group: '',
    version: 'v1',
    kind: 'Namespace',
    plural: 'namespaces',
    shortNames: ['ns'],
    namespaced: false,
    verbs: ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete'],
    status: true,
    schema,
    subresources: [{ name: 'finalize', kind: 'Namespace', verbs: ['update'] }],
    selectableFieldNames: ['status.phase'],
    selectableFields: (object) => ({ 'status.phase': (object as Namespace).status?.phase ?? '' }),
    prepareForCreate(object) {
      const namespace = object as Namespace;
      namespace.status = { phase: 'Active' };
      const finalizers = namespace.spec?.finalizers ?? [];
      namespace.spec = { ...namespace.spec, finalizers: [...new Set([...finalizers, KUBERNETES_FINALIZER])] };
      setNameLabel(namespace);
    },
    prepareForUpdate(object, old, context) {
      const namespace = object as Namespace;
      setNameLabel(namespace);
      // Only /finalize releases a namespace.
      if (context.subresource !== 'finalize') copySpec(namespace, old as Namespace);
      else if (old['status'] !== undefined) namespace.status = (old as Namespace).status as { phase?: string };
    },
  });
}

function setNameLabel(object: StoredObject): void {
  object.metadata.labels = { ...object.metadata.labels, [NAME_LABEL]: object.metadata.name };
}

function copySpec(to: Namespace, from: Namespace): void {
  if (from.spec === undefined) delete to.spec;
  else to.spec = from.spec;
}
