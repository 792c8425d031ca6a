// Files of the state folder in which a machine remembers what it has joined.
import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { errnoOf, WindlassError } from '../../lib/errors.ts';

/**
 * What `file` holds; undefined when it is not there. One that is damaged is not taken for absent: Conflict says so, and with
 * `remedy` what to do.
 */
export function readRemembered<T>(file: string, schema: z.ZodType<T>, remedy: string): T | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new WindlassError('Conflict', `${file} is damaged: ${remedy}`, { cause: error });
  }
}
