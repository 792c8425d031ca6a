// What a test needs of the machine; where it is missing the test is skipped with the reason, and counted.
import type { TestContext } from 'node:test';
import { findProgram } from '../../cli/preflight.ts';

/** True as root; otherwise skips the test. */
export function requireRoot(t: TestContext): boolean {
  if (process.getuid?.() === 0) return true;
  t.skip('needs root');
  return false;
}

/** True when every program is there; otherwise skips the test naming those that are not. */
export function requirePrograms(t: TestContext, ...programs: string[]): boolean {
  const missing = programs.filter((program) => findProgram(program, process.env['PATH']) === undefined);
  if (missing.length === 0) return true;
  t.skip(`needs ${missing.join(', ')} (npm run setup -- --for-tests)`);
  return false;
}

/** True when `holds`; otherwise skips the test with `reason`. */
export function requireFeature(t: TestContext, holds: boolean, reason: string): boolean {
  if (!holds) t.skip(reason);
  return holds;
}
