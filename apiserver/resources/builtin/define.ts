// Built-in kinds are written as the few things in which they differ from the usual.
import { builtinColumns, type RowPrinter } from '../../table/builtin-columns.ts';
import type { StructuralSchema } from '../../schema/structural.ts';
import type { Resource } from '../resource.ts';

const ALL_VERBS = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'] as const;

const AGE = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' } as const;

type Required = Pick<Resource, 'group' | 'version' | 'kind' | 'plural' | 'namespaced' | 'schema'>;

/** A built-in resource with the usual verbs and no status, unless said otherwise. */
export function defineBuiltin(resource: Required & Partial<Resource>): Resource {
  const printer: RowPrinter = builtinColumns[`${resource.group}/${resource.kind}`] ?? { columns: [AGE] };
  return {
    listKind: `${resource.kind}List`,
    singular: resource.kind.toLowerCase(),
    shortNames: [],
    categories: [],
    verbs: ALL_VERBS,
    custom: false,
    columns: printer.columns,
    ...(printer.row ? { row: printer.row } : {}),
    status: false,
    ...resource,
  };
}

/** Takes any fields: for kinds whose schema is not published yet. */
export const OPEN_SCHEMA: StructuralSchema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
