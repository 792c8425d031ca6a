// Commands of RUN, CMD, ENTRYPOINT and HEALTHCHECK: a JSON list that is executed as it is, or text for a shell.
import type { CommandForm } from '../dockerfile/ast.ts';
import { jsonStrings, kindOf, type InstructionSource } from '../dockerfile/instruction-source.ts';
import { parseJsonForm } from '../dockerfile/words.ts';
import type { Scope } from './scope.ts';
import type { StageState } from './stage-state.ts';

const DEFAULT_SHELL = ['/bin/sh', '-c'] as const;

/** Parses the command of an instruction. Throws Invalid where there is none; an empty JSON list is one. */
export function parseCommand(source: InstructionSource): CommandForm {
  const args = jsonStrings(source);
  if (args !== undefined) return { form: 'exec', args };
  if (source.rest === '') throw source.error(`${kindOf(source)} needs a command`);
  warnOfBrokenJson(source, source.rest);
  return { form: 'shell', line: source.rest };
}

/** `[` begins a shell's test as well, but text that ends in `]` was most likely meant to be JSON. */
export function warnOfBrokenJson(source: InstructionSource, text: string): void {
  if (parseJsonForm(text)?.kind !== 'broken' || !/^\[\s*['"].*\]$/s.test(text)) return;
  source.warn(
    'JSONFormBroken',
    `${kindOf(source)} looks like a JSON list but is none (double quotes?): it goes to the shell`,
  );
}

/** What is executed for a command: with the stage's shell before text. */
export function commandArgs(command: CommandForm, state: StageState): string[] {
  return command.form === 'exec' ? [...command.args] : [...shellOf(state), command.line];
}

/** The shell that text is given to. */
export function shellOf({ config }: StageState): readonly string[] {
  return config.Shell !== undefined && config.Shell.length > 0 ? config.Shell : DEFAULT_SHELL;
}

/** Without a shell of its own choice, an image's program is the child of one, which passes no signals on. */
export function warnOfShell(kind: string, command: CommandForm, scope: Scope): void {
  if (command.form === 'exec' || (scope.state.config.Shell ?? []).length > 0) return;
  scope.warn('JSONArgsRecommended', `${kind} should have the JSON form: signals do not reach a command below a shell`);
}
