// A program that is told what to do by JSON lines on stdin and answers each with one line on stdout.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface LineProcess<Command> {
  /** What it said first. */
  readonly hello: unknown;
  /** Its `result`; rejects with its `error`. Commands are answered in order. */
  send(command: Command): Promise<unknown>;
  /** Closes its stdin, upon which it ends, and waits for that. */
  stop(): Promise<void>;
}

/** Starts it and waits for its first line. */
export async function startLineProcess<Command>(file: string, args: readonly string[]): Promise<LineProcess<Command>> {
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const read = async (): Promise<unknown> => {
    const { value } = (await lines.next()) as { value?: string };
    const answer = JSON.parse(value ?? '{"error":"the program ended"}') as { result?: unknown; error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.result;
  };
  const hello = await read();
  let turn: Promise<unknown> = Promise.resolve();
  return {
    hello,
    send(command) {
      const answer = turn.then(() => {
        child.stdin.write(`${JSON.stringify(command)}\n`);
        return read();
      });
      turn = answer.catch(() => undefined);
      return answer;
    },
    async stop() {
      child.stdin.end();
      await closed;
    },
  };
}

/** The program's side: says hello, then answers each command, in order, until its stdin is closed. */
export async function answerLines<Command>(hello: unknown, run: (command: Command) => Promise<unknown>): Promise<void> {
  const print = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
  print({ result: hello });
  for await (const line of createInterface({ input: process.stdin })) {
    await run(JSON.parse(line) as Command).then(
      (result) => print({ result: result ?? null }),
      (error: Error) => print({ error: error.message }),
    );
  }
}
