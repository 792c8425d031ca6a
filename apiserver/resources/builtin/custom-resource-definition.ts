import type { FieldError } from '../../schema/field-error.ts';
import type { CustomResourceDefinition as ValidDefinition } from '../../schema/crd.ts';
import type { StructuralSchema } from '../../schema/structural.ts';
import type { Resource, StoredObject } from '../resource.ts';
import { defineBuiltin } from './define.ts';

type CrdSpec = ValidDefinition['spec'];

/** Keeps a CRD until its objects are gone. */
export const CLEANUP_FINALIZER = 'customresourcecleanup.apiextensions.k8s.io';

export type DefinitionNames = CrdSpec['names'];

export interface DefinitionCondition {
  type: string;
  status: 'True' | 'False';
  reason: string;
  message: string;
  lastTransitionTime: string;
}

export interface CustomResourceDefinition extends StoredObject {
  spec: CrdSpec;
  status?: { conditions?: DefinitionCondition[]; acceptedNames?: DefinitionNames; storedVersions?: string[] };
}

/** apiextensions.k8s.io/v1 CustomResourceDefinition. */
export function customResourceDefinitionResource(
  schema: StructuralSchema,
  validate: (definition: StoredObject) => FieldError[] = () => [],
): Resource {
  return defineBuiltin({
    group: 'apiextensions.k8s.io',
    version: 'v1',
    kind: 'CustomResourceDefinition',
    plural: 'customresourcedefinitions',
    shortNames: ['crd', 'crds'],
    categories: ['api-extensions'],
    namespaced: false,
    status: true,
    schema,
    prepareForCreate(object) {
      completeNames(object as CustomResourceDefinition);
      object.metadata.finalizers = [...new Set([...(object.metadata.finalizers ?? []), CLEANUP_FINALIZER])];
    },
    prepareForUpdate: (object) => completeNames(object as CustomResourceDefinition),
    validate: (object) => validate(object),
  });
}

function completeNames(definition: CustomResourceDefinition): void {
  const { spec } = definition as { spec?: { names?: Record<string, unknown>; conversion?: unknown } };
  const names = spec?.names;
  if (!names || typeof names['kind'] !== 'string') return;
  names['singular'] ??= names['kind'].toLowerCase();
  names['listKind'] ??= `${names['kind']}List`;
  spec.conversion ??= { strategy: 'None' };
}
