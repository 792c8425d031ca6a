// The --chmod flag: an octal mode, or the symbolic form of chmod(1) with an umask of 0.
import { WindlassError } from '../../lib/errors.ts';

/** Gives a file's mode from the one it had. */
export type ModeChange = (mode: number, isDirectory: boolean) => number;

const CLAUSE = /^([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)$/;

/** Parses the value of --chmod; Invalid says what would be right. */
export function parseChmod(text: string): ModeChange {
  if (/^[0-7]+$/.test(text)) {
    const mode = Number.parseInt(text, 8);
    if (mode > 0o7777) throw badMode(text);
    return () => mode;
  }
  const clauses = text.split(',').map((clause) => CLAUSE.exec(clause));
  if (!clauses.every((clause) => clause !== null)) throw badMode(text);
  return (mode, isDirectory) =>
    clauses.reduce((result, [, who = '', actions = '']) => change(result, who, actions, isDirectory), mode & 0o7777);
}

function badMode(text: string): WindlassError {
  return new WindlassError(
    'Invalid',
    `invalid --chmod ${JSON.stringify(text)}: want an octal number up to 7777, or the form of chmod(1), e.g. u=rwX,go=rX`,
  );
}

function change(mode: number, who: string, actions: string, isDirectory: boolean): number {
  const isAll = who === '' || who.includes('a');
  const groups = (['u', 'g', 'o'] as const).filter((group) => isAll || who.includes(group));
  let result = mode;
  for (const [, operator, letters = ''] of actions.matchAll(/([-+=])([ugo]|[rwxXst]*)/g)) {
    const bits = groups.reduce((sum, group) => sum | bitsOf(group, letters, result, isDirectory), 0);
    const sticky = letters.includes('t') && isAll ? 0o1000 : 0;
    if (operator === '+') result |= bits | sticky;
    else if (operator === '-') result &= ~(bits | sticky);
    else result = (result & ~maskOf(groups, isAll)) | bits | sticky;
  }
  return result;
}

const SHIFTS = { u: 6, g: 3, o: 0 } as const;
const SPECIAL = { u: 0o4000, g: 0o2000, o: 0 } as const;

function bitsOf(group: 'u' | 'g' | 'o', letters: string, mode: number, isDirectory: boolean): number {
  if (letters === 'u' || letters === 'g' || letters === 'o') {
    return ((mode >> SHIFTS[letters]) & 7) << SHIFTS[group];
  }
  let bits = 0;
  if (letters.includes('r')) bits |= 4;
  if (letters.includes('w')) bits |= 2;
  if (letters.includes('x') || (letters.includes('X') && (isDirectory || (mode & 0o111) !== 0))) bits |= 1;
  return (bits << SHIFTS[group]) | (letters.includes('s') ? SPECIAL[group] : 0);
}

/** What `=` clears before it sets. */
function maskOf(groups: readonly ('u' | 'g' | 'o')[], isAll: boolean): number {
  return groups.reduce((mask, group) => mask | (7 << SHIFTS[group]) | SPECIAL[group], isAll ? 0o1000 : 0);
}
