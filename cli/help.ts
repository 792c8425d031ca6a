import { closestWord } from '../lib/closest-word.ts';
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
  return closestWord(word.toLowerCase(), [...commands.map(({ name }) => name), 'help']);
}
