import type { Command } from './command.ts';

const FOOTER = `Global flags may also be given as environment variables: --home as WINDLASS_HOME, --run as WINDLASS_RUN, and so on.
Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 conflict, 124 timeout, 130 interrupted.`;

/** The page of `windlass --help`. */
export function renderHelp(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length)) + 2;
  return `windlass keeps containers, images, volumes, networks and services as you wrote them down.

Usage: windlass COMMAND [flags]

Commands:
${commands.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`).join('\n')}

Run windlass COMMAND --help for the flags and examples of one command.
${FOOTER}`;
}

/** The page of `windlass COMMAND --help`. */
export function renderCommandHelp(command: Command): string {
  const width = Math.max(...command.flags.map(({ flag }) => flag.length)) + 2;
  return `${command.summary}

Usage: ${command.usage}

Flags:
${command.flags.map(({ flag, text }) => `  ${flag.padEnd(width)}${text}`).join('\n')}

Examples:
${command.examples.map((example) => `  ${example}`).join('\n')}

${FOOTER}`;
}

/** The command a mistyped word most likely meant, or undefined when none is near. */
export function suggestCommand(word: string, commands: readonly Command[]): string | undefined {
  const scored = [...commands.map(({ name }) => name), 'help'].map((name) => ({
    name,
    distance: editDistance(word.toLowerCase(), name),
  }));
  const best = scored.toSorted((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= 2 ? best.name : undefined;
}

// Levenshtein distance, one row at a time.
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
