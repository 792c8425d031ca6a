// Configuration of one process: flags over environment over file over default, parsed once by zod, then frozen.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { WindlassError } from './errors.ts';
import { parseYaml } from './parse-yaml.ts';

export interface ConfigSource {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

const camel = (text: string): string => text.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
const kebab = (text: string): string => text.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/**
 * Reads the options named by the keys of `schema` (camelCase): `--some-key value`, else `WINDLASS_SOME_KEY`, else the
 * key in the YAML file given by `--config`, else the schema's default. Boolean keys are flags without a value.
 * Words that are no flags are refused.
 * Throws BadRequest naming the option and what would be right.
 */
export function loadConfig<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  source: ConfigSource,
): { config: Readonly<z.infer<z.ZodObject<Shape>>> } {
  const keys = Object.keys(schema.shape);
  const booleans = new Set(keys.filter((key) => isBoolean(schema.shape[key] as z.ZodType)));
  const options = Object.fromEntries(
    [...keys.map(kebab), 'config'].map((flag) => [
      flag,
      { type: booleans.has(camel(flag)) ? 'boolean' : 'string' } as const,
    ]),
  );
  let parsed: { values: Record<string, string | boolean | undefined> };
  try {
    parsed = parseArgs({ args: [...source.argv], options, allowPositionals: false, strict: true }) as typeof parsed;
  } catch (error) {
    const [reason = 'invalid flag'] = (error as Error).message.split('. ');
    throw new WindlassError('BadRequest', reason.charAt(0).toLowerCase() + reason.slice(1), { cause: error });
  }
  const file = parsed.values['config'] ? readConfigFile(String(parsed.values['config'])) : {};
  const raw: Record<string, unknown> = {};
  for (const key of keys) {
    const flag = parsed.values[kebab(key)];
    const fromEnv = source.env[`WINDLASS_${kebab(key).replaceAll('-', '_').toUpperCase()}`];
    const value = flag ?? (fromEnv === '' ? undefined : fromEnv) ?? file[key];
    if (value !== undefined)
      raw[key] = booleans.has(key) && typeof value === 'string' ? value === 'true' || value === '1' : value;
  }
  const result = schema.safeParse(raw);
  if (!result.success) {
    const issue = result.error.issues[0];
    throw new WindlassError(
      'BadRequest',
      `invalid --${kebab(String(issue?.path[0] ?? 'config'))}: ${issue?.message ?? 'invalid value'}`,
    );
  }
  return { config: Object.freeze(result.data) };
}

function isBoolean(type: z.ZodType): boolean {
  let current: z.ZodType = type;
  while (current instanceof z.ZodDefault || current instanceof z.ZodOptional) current = current.unwrap() as z.ZodType;
  return current instanceof z.ZodBoolean;
}

function readConfigFile(path: string): Record<string, unknown> {
  let data: unknown;
  try {
    data = parseYaml(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new WindlassError('BadRequest', `cannot read configuration file ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (data === null || typeof data !== 'object' || Array.isArray(data)) {
    throw new WindlassError('BadRequest', `configuration file ${path} must be a YAML mapping of options`);
  }
  return data as Record<string, unknown>;
}
