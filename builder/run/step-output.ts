// What a step prints, as lines. One pipe takes stdout and stderr, so that the order is that of the writes; it is read
// only as fast as lines are taken, so that memory is bounded whatever the step prints.
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

const MAX_LINE = 16 * 1024;
const TAIL = { lines: 20, characters: 8 * 1024 } as const;
/** Shorter ones are found in half of all lines. */
const MIN_SECRET = 4;
export const HIDDEN = '***';

/** Puts *** in the place of each line of a secret. */
export interface Redactor {
  (text: string): string;
  /** Length of the longest text that it looks for. */
  readonly longest: number;
}

/** A redactor of what these secrets hold, line by line, as programs print them; lines under four characters stay. */
export function createRedactor(secrets: Iterable<Buffer>): Redactor {
  const texts = new Set(
    [...secrets].flatMap((bytes) =>
      bytes
        .toString('utf8')
        .split(/\r?\n/)
        .map((line) => line.trim()),
    ),
  );
  // The longest first: one can be part of another.
  const wanted = [...texts].filter((text) => text.length >= MIN_SECRET).toSorted((a, b) => b.length - a.length);
  const redact = (text: string): string => wanted.reduce((rest, secret) => rest.replaceAll(secret, HIDDEN), text);
  return Object.assign(redact, { longest: wanted[0]?.length ?? 0 });
}

export interface StepOutput {
  /** Hands on every line of `source`, the last one also without a line feed; resolves at its end. */
  read(source: Readable): Promise<void>;
  /** The last lines so far. */
  tail(): readonly string[];
}

/** @param onLine called with one line after the other; a promise that it returns is waited for. */
export function createStepOutput(redact: Redactor, onLine: (line: string) => void | Promise<void>): StepOutput {
  const tail: string[] = [];
  let tailLength = 0;

  /** A promise only where there is something to wait for: most lines are handed on in the turn in which they came. */
  function emit(line: string): void | Promise<void> {
    tail.push(line.slice(0, TAIL.characters));
    tailLength += tail.at(-1)?.length ?? 0;
    while (tail.length > TAIL.lines || (tailLength > TAIL.characters && tail.length > 1)) {
      tailLength -= tail.shift()?.length ?? 0;
    }
    return onLine(line);
  }

  return {
    tail: () => [...tail],
    async read(source) {
      const decoder = new StringDecoder('utf8');
      let rest = '';
      for await (const chunk of source) {
        const [first = '', ...lines] = decoder.write(chunk as Buffer).split('\n');
        rest += first;
        for (const line of lines) {
          for (const piece of piecesOf(redact(rest))) {
            const taken = emit(piece);
            if (taken) await taken;
          }
          rest = line;
        }
        // What could be the beginning of a secret waits for the rest of it.
        while (rest.length > MAX_LINE + redact.longest) {
          rest = redact(rest);
          if (rest.length <= MAX_LINE + redact.longest) break;
          await emit(rest.slice(0, MAX_LINE));
          rest = rest.slice(MAX_LINE);
        }
      }
      rest += decoder.end();
      if (rest !== '') for (const piece of piecesOf(redact(rest))) await emit(piece);
    },
  };
}

const piecesOf = (line: string): string[] =>
  line.length <= MAX_LINE
    ? [line]
    : Array.from({ length: Math.ceil(line.length / MAX_LINE) }, (_, index) =>
        line.slice(index * MAX_LINE, (index + 1) * MAX_LINE),
      );
