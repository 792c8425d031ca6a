// Starts socket-peer.ts in a namespace and reads what it and its processor time say.
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { AskCommand } from './socket-peer.ts';

const program = fileURLToPath(new URL('socket-peer.ts', import.meta.url));

export interface PeerProcess {
  /** Milliseconds that it took. */
  ask(command: AskCommand): Promise<number>;
  /** Of its main thread so far, the packets that the kernel handles on its behalf included. */
  cpuNanoseconds(): number;
  stop(): void;
}

/** `prefix` leads into the namespace. */
export async function startPeerProcess(prefix: readonly string[], ...args: readonly string[]): Promise<PeerProcess> {
  const [file = '', ...rest] = [...prefix, process.execPath, program, ...args];
  const child: ChildProcess = spawn(file, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`socket-peer ${args.join(' ')} ended`);
    return String(value);
  };
  await next();
  return {
    async ask(command) {
      child.stdin?.write(`${JSON.stringify(command)}\n`);
      return Number(await next());
    },
    cpuNanoseconds: () => Number(readFileSync(`/proc/${child.pid}/schedstat`, 'utf8').split(' ')[0]),
    stop: () => void child.kill('SIGKILL'),
  };
}
