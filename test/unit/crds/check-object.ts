// Decides on an object of our kinds as the API server does: prune, defaults, schema, CEL rules.
import { compileRules, type RuleSet } from '../../../apiserver/schema/cel.ts';
import { applyDefaults } from '../../../apiserver/schema/defaults.ts';
import { describeFieldError } from '../../../apiserver/schema/field-error.ts';
import { prune } from '../../../apiserver/schema/prune.ts';
import type { StructuralSchema } from '../../../apiserver/schema/structural.ts';
import { validateSchema } from '../../../apiserver/schema/validate.ts';
import { toDefinition } from '../../../crds/definition.ts';
import { KINDS } from '../../../crds/index.ts';

/** The schema of a whole object of `kind`. */
export function schemaOf(kind: string): StructuralSchema {
  const found = KINDS.find((candidate) => candidate.kind === kind);
  const schema = found && toDefinition(found).spec.versions[0]?.schema.openAPIV3Schema;
  if (!schema) throw new Error(`there is no kind ${kind}`);
  return schema as StructuralSchema;
}

const compiled = new Map<string, { schema: StructuralSchema; rules: RuleSet }>();

function rulesOf(kind: string): { schema: StructuralSchema; rules: RuleSet } {
  const known = compiled.get(kind);
  if (known) return known;
  const schema = schemaOf(kind);
  const made = { schema, rules: compileRules(schema) };
  compiled.set(kind, made);
  return made;
}

/** What is wrong with an object of `kind` with this spec, one line per rule it breaks; empty when nothing is. */
export function check(kind: string, spec: unknown, oldSpec?: unknown): string[] {
  const { schema, rules } = rulesOf(kind);
  const whole = (given: unknown): object => {
    const object = { apiVersion: 'windlass.dev/v1', kind, metadata: { name: 'x' }, spec: structuredClone(given) };
    applyDefaults(schema, object);
    return object;
  };
  const object = whole(spec);
  const unknown = prune(schema, object).map((path) => `${path}: unknown field`);
  const broken = validateSchema(schema, object).map((error) => `${error.field}: ${describeFieldError(error)}`);
  if (broken.length > 0) return [...unknown, ...broken];
  // Rules are for what the schema accepts.
  const errors = rules(object, oldSpec === undefined ? undefined : whole(oldSpec));
  return [...unknown, ...errors.map(({ field, detail }) => `${field}: ${detail}`)];
}
