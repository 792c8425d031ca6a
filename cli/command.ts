import type { Output } from './output.ts';

export interface CommandContext {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly output: Output;
  /** Fires at the first SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
}

export interface Command {
  readonly name: string;
  readonly summary: string;
  readonly usage: string;
  /** One line per flag: `--home DIR` and what it does. */
  readonly flags: readonly { readonly flag: string; readonly text: string }[];
  readonly examples: readonly string[];
  /** Resolves to the exit code; throws WindlassError for a failure that is told in one line. */
  run(context: CommandContext): Promise<number>;
}
