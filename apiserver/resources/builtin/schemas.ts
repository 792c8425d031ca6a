// Schemas of the built-in kinds, found by group and kind.
import { builtinSchemas } from '../../openapi/builtin/index.ts';
import type { StructuralSchema } from '../../schema/structural.ts';
import { OPEN_SCHEMA } from './define.ts';

/** The schema of a built-in kind; one that takes anything when none is published. */
export function schemaOf(group: string, kind: string): StructuralSchema {
  return builtinSchemas[`${group}/${kind}`] ?? OPEN_SCHEMA;
}
