// What a step prints, as lines. One pipe takes stdout and stderr, so that the order is that of the writes; it is read
// only as fast as lines are taken, so that memory is bounded whatever the step prints.
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { Redactor } from './redactor.ts';

const MAX_LINE = 16 * 1024;
const TAIL = { lines: 20, characters: 8 * 1024 } as const;
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
        if (rest.length <= MAX_LINE + redact.longest) continue;
        rest = redact(rest);
        while (rest.length > MAX_LINE + redact.longest) {
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
