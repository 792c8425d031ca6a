// The log of a build, in the plain form of BuildKit: every step has a number, by which its lines are told from those of
// steps beside it.
import type { BuildEvent } from '../runtime-shim/images/image-builder.ts';

/** A line of more is cut: a command that never ends its line must not fill the memory. */
const MAX_LINE = 64 * 1024;

export interface StepLog {
  /** Text of the step as it comes, cut into lines here; resolves when there is room for more. */
  output(text: string): Promise<void>;
  cached(): void;
  done(): void;
  failed(message: string): void;
}

export interface BuildLog {
  /** A line of the build as a whole. */
  note(text: string): void;
  /** Begins step `title`, e.g. `[build 2/5] RUN make`. */
  begin(title: string): StepLog;
}

/** A log whose lines go to `onEvent`; `now` in milliseconds. */
export function createBuildLog(onEvent: (event: BuildEvent) => Promise<void> | void, now: () => number): BuildLog {
  let last = 0;
  const tell = (text: string): Promise<void> | void => onEvent({ kind: 'log', text: `${text}\n` });
  const write = (text: string): void => void tell(text);
  return {
    note: write,
    begin(title) {
      last += 1;
      const prefix = `#${last}`;
      const startedAt = now();
      const seconds = (): string => ((now() - startedAt) / 1000).toFixed(1);
      let rest = '';
      const flush = (): void => {
        if (rest !== '') write(`${prefix} ${seconds()} ${rest}`);
        rest = '';
      };
      write(`${prefix} ${title}`);
      return {
        async output(text) {
          const lines = (rest + text).split('\n');
          rest = lines.pop() ?? '';
          for (; rest.length > MAX_LINE; rest = rest.slice(MAX_LINE)) lines.push(rest.slice(0, MAX_LINE));
          // A progress bar overwrites its line: what it came to is what stays.
          const shown = lines.map((line) => line.replace(/\r$/, '').split('\r').at(-1) ?? '');
          await Promise.all(shown.map(async (line) => tell(`${prefix} ${seconds()} ${line}`)));
        },
        cached: () => write(`${prefix} CACHED`),
        done() {
          flush();
          write(`${prefix} DONE ${seconds()}s`);
        },
        failed(message) {
          flush();
          write(`${prefix} ERROR: ${message}`);
        },
      };
    },
  };
}
