// The only writer to the terminal: results on stdout, progress and failures on stderr, colour and rewriting of lines
// only on a terminal that wants them (NO_COLOR, TERM=dumb, CLICOLOR_FORCE).
import type { WriteStream } from 'node:tty';

export interface Output {
  /** A result, on stdout. */
  print(text: string): void;
  /** `windlass: message`, on stderr. */
  fail(message: string): void;
  /** A line of progress, on stderr. */
  note(text: string): void;
  /** A line that is rewritten in place on a terminal until it is done; elsewhere only its last form is printed. */
  task(name: string): Task;
}

export interface Task {
  update(text: string): void;
  done(text: string): void;
  failed(text: string): void;
}

interface Streams {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const NAME_WIDTH = 14;

const isForced = (value: string | undefined): boolean => Boolean(value) && value !== '0';

export function createOutput({ stdout, stderr, env }: Streams): Output {
  const isRich = Boolean((stderr as WriteStream).isTTY) && env['TERM'] !== 'dumb';
  const wantsColour = !env['NO_COLOR'] && (isRich || isForced(env['CLICOLOR_FORCE']) || isForced(env['FORCE_COLOR']));
  const paint = (code: number, text: string): string => (wantsColour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const line = (mark: string, name: string, text: string): string => `${mark} ${name.padEnd(NAME_WIDTH)} ${text}`;
  // True while the terminal's last line is one that the next write replaces.
  let isOpen = false;
  const write = (text: string, { staysOpen = false } = {}): void => {
    stderr.write(`${isOpen ? '\r\u001b[2K' : ''}${text}${staysOpen ? '' : '\n'}`);
    isOpen = staysOpen;
  };
  // A line that wraps could not be replaced.
  const fit = (text: string): string =>
    text.slice(0, Math.max(((stderr as WriteStream).columns ?? 80) - NAME_WIDTH - 4, 10));
  return {
    print: (text) => void stdout.write(text.endsWith('\n') ? text : `${text}\n`),
    fail: (message) => write(`${paint(31, 'windlass:')} ${message}`),
    note: (text) => write(text),
    task: (name) => ({
      update: (text) => {
        if (isRich) write(line(paint(33, '…'), name, fit(text)), { staysOpen: true });
      },
      done: (text) => write(line(paint(32, '✔'), name, text)),
      failed: (text) => write(line(paint(31, '✘'), name, text)),
    }),
  };
}
