// A zod schema as the structural OpenAPI v3 schema that a CustomResourceDefinition takes.
// https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
import { z } from 'zod';
import { matchRule } from './fields.ts';

export interface OpenApiSchema {
  type?: string;
  description?: string;
  default?: unknown;
  properties?: Record<string, OpenApiSchema>;
  additionalProperties?: OpenApiSchema;
  items?: OpenApiSchema;
  required?: string[];
  'x-kubernetes-validations'?: object[];
  [key: string]: unknown;
}

/** Keys in the order a reader wants them: what it is, then its bounds, then what is inside. */
const ORDER = [
  'description',
  'type',
  'format',
  'default',
  'enum',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'pattern',
  'minItems',
  'maxItems',
  'required',
  'x-kubernetes-int-or-string',
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-validations',
  'properties',
  'additionalProperties',
  'items',
];

/** The structural schema of what a client may write for `schema`. Throws on a zod shape that has no such form. */
export function toOpenApi(schema: z.ZodType): OpenApiSchema {
  return structural(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'throw' }) as Record<string, unknown>, '');
}

function structural(json: Record<string, unknown>, path: string): OpenApiSchema {
  const out: Record<string, unknown> = {};
  for (const key of ORDER) if (json[key] !== undefined) out[key] = json[key];
  if (json['x-kubernetes-int-or-string'] !== true) {
    for (const key of ['anyOf', 'oneOf', 'allOf', 'not', 'const', '$ref', 'exclusiveMinimum', 'exclusiveMaximum']) {
      if (json[key] !== undefined) throw new Error(`${path || 'schema'}: ${key} is not structural`);
    }
  }
  // zod bounds integers to what a double holds exactly, which says nothing to a reader.
  if (out['minimum'] === Number.MIN_SAFE_INTEGER) delete out['minimum'];
  if (out['maximum'] === Number.MAX_SAFE_INTEGER) delete out['maximum'];
  if (out['type'] === 'integer') out['format'] = integerFormat(out['maximum']);
  if (typeof out['pattern'] === 'string') {
    const source = out['pattern'].replaceAll('\\/', '/');
    const rules = (out['x-kubernetes-validations'] ?? []) as { rule: string }[];
    // A worded() pattern is checked by its rule alone: one complaint, not two.
    if (rules.some(({ rule }) => rule === matchRule(source))) delete out['pattern'];
    else out['pattern'] = source;
  }
  if (json['properties']) {
    out['properties'] = Object.fromEntries(
      Object.entries(json['properties'] as Record<string, Record<string, unknown>>).map(([name, property]) => [
        name,
        structural(property, `${path}.${name}`),
      ]),
    );
  }
  if (json['items']) out['items'] = structural(json['items'] as Record<string, unknown>, `${path}[]`);
  const additional = json['additionalProperties'] as Record<string, unknown> | undefined;
  delete out['additionalProperties'];
  if (additional && Object.keys(additional).length > 0) {
    out['additionalProperties'] = structural(additional, `${path}.*`);
  } else if (additional) {
    // A map of anything.
    out['x-kubernetes-preserve-unknown-fields'] = true;
  }
  return inOrder(out);
}

const integerFormat = (maximum: unknown): string =>
  typeof maximum === 'number' && maximum <= 2_147_483_647 ? 'int32' : 'int64';

function inOrder(schema: Record<string, unknown>): OpenApiSchema {
  return Object.fromEntries(ORDER.filter((key) => schema[key] !== undefined).map((key) => [key, schema[key]]));
}
