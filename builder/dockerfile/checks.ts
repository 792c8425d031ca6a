// Warnings, and the checks that a Dockerfile may turn off (`# check=skip=RULE,RULE;error=true`).
import type { Checks, Position, SkippedRules, Warning } from './ast.ts';
import { Problem } from './problem.ts';
import { dockerfileError, quote } from './syntax-error.ts';

export const ALL_CHECKS: Checks = { skips: [], isError: false };

/** Where a warning is about, and what was turned off there. */
export interface WarningPlace {
  readonly position: Position;
  readonly skips: SkippedRules;
  /** As written. */
  readonly text?: string;
}

/** The value of a check directive. Throws Problem for what is none. */
export function parseChecks(value: string): Checks {
  let { skips, isError } = ALL_CHECKS;
  for (const part of value.split(';')) {
    const [key = '', setting = ''] = part.split(/=(.*)/s, 2).map((text) => text.trim());
    // `experimental` turns on rules that are not here.
    if (key === 'skip') skips = setting === 'all' ? 'all' : setting.split(',').map((rule) => rule.trim());
    else if (key === 'error' && /^(?:true|false)$/i.test(setting)) isError = setting.toLowerCase() === 'true';
    else if (key !== 'experimental') throw new Problem(`unknown check option ${quote(part)}: it knows skip and error`);
  }
  return { skips, isError };
}

/** What the comments above an instruction turn off; a directive that is wrong is a plain comment there. */
export function skipsOf(comments: readonly string[]): SkippedRules {
  for (const comment of comments) {
    const value = /^check\s*=\s*(.+)$/i.exec(comment)?.[1];
    if (value === undefined) continue;
    try {
      return parseChecks(value).skips;
    } catch (error) {
      if (error instanceof Problem) return [];
      throw error;
    }
  }
  return [];
}

/**
 * Adds a warning to `warnings` unless its rule is turned off. Throws Invalid instead where the Dockerfile wants
 * warnings to be errors.
 */
export function addWarning(
  warnings: Warning[],
  { file, checks }: { readonly file: string; readonly checks: Checks },
  { position, skips, text }: WarningPlace,
  warning: { readonly rule: string; readonly message: string },
): void {
  const isSkipped = (rules: SkippedRules): boolean => rules === 'all' || rules.includes(warning.rule);
  if (isSkipped(checks.skips) || isSkipped(skips)) return;
  if (checks.isError) {
    const problem = `${warning.message} (${warning.rule}, an error as # check=error=true says)`;
    throw dockerfileError(file, position, problem, text === undefined ? {} : { instruction: text });
  }
  warnings.push({ ...warning, position: { file, ...position } });
}
