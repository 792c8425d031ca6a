// YAML of configuration files, by a library that is loaded with the first of them: most processes are given none, and it
// takes 3 MB of each.
import { createRequire } from 'node:module';
import type * as yaml from 'yaml';

const load = createRequire(import.meta.url);

/** The value of a YAML document; throws with the place of what is wrong in it. */
export function parseYaml(text: string): unknown {
  return (load('yaml') as typeof yaml).parse(text);
}
