// Node and Lease: machines and their heartbeats.
import type { StructuralSchema } from '../../schema/structural.ts';
import type { Resource, StoredObject } from '../resource.ts';
import { defineBuiltin } from './define.ts';

interface Node extends StoredObject {
  spec?: { unschedulable?: boolean };
}

/** v1 Node. */
export function nodeResource(schema: StructuralSchema): Resource {
  return defineBuiltin({
    group: '',
    version: 'v1',
    kind: 'Node',
    plural: 'nodes',
    shortNames: ['no'],
    namespaced: false,
    status: true,
    schema,
    selectableFieldNames: ['spec.unschedulable'],
    selectableFields: (object) => ({ 'spec.unschedulable': String((object as Node).spec?.unschedulable ?? false) }),
  });
}

/** coordination.k8s.io/v1 Lease. */
export function leaseResource(schema: StructuralSchema): Resource {
  return defineBuiltin({
    group: 'coordination.k8s.io',
    version: 'v1',
    kind: 'Lease',
    plural: 'leases',
    namespaced: true,
    schema,
    validate(object) {
      const spec = (object['spec'] ?? {}) as { leaseDurationSeconds?: number; leaseTransitions?: number };
      if (spec.leaseDurationSeconds === undefined || spec.leaseDurationSeconds > 0) return [];
      const detail = 'must be greater than 0';
      return [
        { type: 'FieldValueInvalid', field: 'spec.leaseDurationSeconds', value: spec.leaseDurationSeconds, detail },
      ];
    },
  });
}
