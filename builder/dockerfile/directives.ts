// Parser directives: comments of the form `# name=value` at the very top of a Dockerfile.
import type { Checks, Escape } from './ast.ts';
import { ALL_CHECKS, parseChecks } from './checks.ts';
import { withPlace } from './problem.ts';
import { withoutLineEnd } from './source-lines.ts';
import { dockerfileError, quote } from './syntax-error.ts';

export interface Directives {
  readonly syntax?: string;
  readonly escape: Escape;
  readonly checks: Checks;
  /** How many lines they take. */
  readonly lines: number;
}

const DIRECTIVE = /^\s*#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=(.+)$/;
const NAMES = ['syntax', 'escape', 'check'];
/** Names of Docker's own front end, whose language this one is. */
const OWN_SYNTAX =
  /^(?:docker\.io\/)?docker\/dockerfile(?::(?:1(?:[.-][A-Za-z0-9_.-]*)?|latest|labs|experimental))?(?:@sha256:[0-9a-f]{64})?$/;

/**
 * Reads the directives. The first line that is none ends them. Throws Invalid for one that is there twice, a wrong
 * escape or check, and a syntax image: those are programs of others, which are not run.
 */
export function readDirectives(lines: readonly string[], file: string): Directives {
  const found = new Map<string, string>();
  let escape: Escape = '\\';
  let checks = ALL_CHECKS;
  let taken = lines[0]?.startsWith('#!') === true ? 1 : 0;
  for (; taken < lines.length; taken += 1) {
    const line = withoutLineEnd(lines[taken] ?? '');
    const [, written = '', assigned = ''] = DIRECTIVE.exec(line) ?? [];
    const name = written.toLowerCase();
    const value = assigned.trim();
    if (!NAMES.includes(name) || value === '') break;
    const fail = (problem: string, cause?: unknown): Error => {
      const column = line.length - line.trimStart().length + 1;
      return dockerfileError(file, { line: taken + 1, column }, problem, { instruction: line.trim(), cause });
    };
    if (found.has(name)) throw fail(`directive ${name} is there twice`);
    found.set(name, value);
    if (name === 'syntax') checkSyntax(value, fail);
    else if (name === 'escape') escape = readEscape(value, fail);
    else checks = withPlace(fail, () => parseChecks(value));
  }
  const syntax = found.get('syntax');
  return { ...(syntax === undefined ? {} : { syntax }), escape, checks, lines: taken };
}

function checkSyntax(value: string, fail: (problem: string) => Error): void {
  const image = value.split(/\s/, 1)[0] ?? '';
  if (OWN_SYNTAX.test(image)) return;
  throw fail(
    `syntax image ${quote(image)} is not supported: front ends of others are not run; docker/dockerfile:1 is built in`,
  );
}

function readEscape(value: string, fail: (problem: string) => Error): Escape {
  if (value === '\\' || value === '`') return value;
  throw fail(`escape must be \\ or \`, not ${quote(value)}`);
}
