// A kind as the CustomResourceDefinition object that the API server serves it from.
import type { CustomKind, KubernetesObject } from './kind.ts';
import { toOpenApi, type OpenApiSchema } from './open-api.ts';

export interface CustomResourceDefinition extends KubernetesObject {
  spec: {
    group: string;
    scope: 'Namespaced' | 'Cluster';
    names: {
      kind: string;
      listKind: string;
      plural: string;
      singular: string;
      shortNames: string[];
      categories: string[];
    };
    versions: {
      name: string;
      served: boolean;
      storage: boolean;
      subresources: object;
      additionalPrinterColumns: object[];
      selectableFields?: { jsonPath: string }[];
      schema: { openAPIV3Schema: OpenApiSchema };
    }[];
  };
}

/** The CustomResourceDefinition of `kind`: pure, the same object every time. */
export function toDefinition(kind: CustomKind): CustomResourceDefinition {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${kind.plural}.${kind.group}` },
    spec: {
      group: kind.group,
      scope: kind.namespaced ? 'Namespaced' : 'Cluster',
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular: kind.singular,
        shortNames: [...kind.shortNames],
        categories: [...kind.categories],
      },
      versions: [
        {
          name: kind.version,
          served: true,
          storage: true,
          subresources: { status: {}, ...(kind.scale ? { scale: { ...kind.scale } } : {}) },
          additionalPrinterColumns: kind.columns.map((column) => ({ ...column })),
          ...(kind.selectableFields
            ? { selectableFields: kind.selectableFields.map((jsonPath) => ({ jsonPath })) }
            : {}),
          schema: { openAPIV3Schema: objectSchema(kind) },
        },
      ],
    },
  };
}

function objectSchema(kind: CustomKind): OpenApiSchema {
  const { description: _, ...spec } = toOpenApi(kind.spec);
  const { description: __, ...status } = toOpenApi(kind.status);
  const rules = [...(spec['x-kubernetes-validations'] ?? []), ...kind.specRules.map((rule) => ({ ...rule }))];
  return {
    description: kind.description,
    type: 'object',
    ...(kind.specOptional ? {} : { required: ['spec'] }),
    properties: {
      apiVersion: {
        description: `The version of this form of the object: ${kind.group}/${kind.version}.`,
        type: 'string',
      },
      kind: { description: `The kind of the object: ${kind.kind}.`, type: 'string' },
      metadata: { type: 'object' },
      spec: {
        description: `What the ${kind.kind} should be.`,
        ...spec,
        ...(kind.specOptional ? { default: {} } : {}),
        ...(rules.length > 0 ? { 'x-kubernetes-validations': rules } : {}),
      },
      status: { description: `What the ${kind.kind} was last seen to be. Written by windlass.`, ...status },
    },
  };
}
