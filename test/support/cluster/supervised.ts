// A process of a test that can be killed and started again; one that ends by itself is started again, as `windlass up`
// does. It dies with the test process, however that ends.
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { errnoOf } from '../../../lib/errors.ts';

const RESTART_MS = 300;

export interface Supervised {
  readonly name: string;
  /** Where its output goes; of all its runs. */
  readonly logFile: string;
  readonly isRunning: () => boolean;
  /** Does nothing when it runs; `env` is for this run, on top of its own. */
  start(env?: Readonly<Record<string, string>>): void;
  /** Sends the signal, and waits for the end when it is one that ends it; does nothing when it does not run. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** SIGSTOP: it lives, but does nothing; undone by thaw(). */
  freeze(): void;
  thaw(): void;
  /** The last lines it printed. */
  tail(lines?: number): string;
  /** How each of its runs ended, and when: `14:03:07.120 SIGKILL`. */
  ends(): readonly string[];
}

export interface ProgramToRun {
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logFile: string;
  /** Whether it may run now: it is not started again where it cannot. */
  readonly mayRun?: () => boolean;
  /** The words in front that run a program somewhere else; it is then a child of the process they start. */
  readonly within?: () => readonly string[];
}

/** The process, not started. */
export function supervise(program: ProgramToRun): Supervised {
  const { name, logFile } = program;
  let child: ChildProcess | undefined;
  let ended: Promise<void> = Promise.resolve();
  let isWanted = false;
  const ends: string[] = [];
  const isRunning = (): boolean => child !== undefined && child.exitCode === null && child.signalCode === null;
  const signalIt = (signal: NodeJS.Signals): void => {
    const pid = child?.pid;
    if (pid === undefined || !isRunning()) return;
    for (const target of program.within ? childrenOf(pid) : [pid]) signalIfThere(target, signal);
    // nsenter stops with its child, and goes on only when it is told itself.
    if (program.within && signal !== 'SIGSTOP') signalIfThere(pid, 'SIGCONT');
  };
  const supervised: Supervised = {
    name,
    logFile,
    isRunning,
    start(env = {}) {
      if (isRunning()) return;
      isWanted = true;
      const log = openSync(logFile, 'a');
      const words = [...dieWithParent, ...(program.within?.() ?? []), program.file, ...program.args];
      const started = spawn(words[0] ?? '', words.slice(1), {
        stdio: ['ignore', log, log],
        env: { ...program.env, ...env },
      });
      closeSync(log);
      child = started;
      ended = new Promise((resolve) => {
        const end = (how: string): void => {
          ends.push(`${new Date().toISOString().slice(11, 23)} ${how}`);
          resolve();
        };
        started.once('exit', (code, signal) => end(signal ?? `code ${code}`));
        started.once('error', (error) => end(error.message));
      });
      void ended.then(() => setTimeout(again, RESTART_MS, env));
    },
    async kill(signal = 'SIGKILL') {
      isWanted = false;
      signalIt(signal);
      await ended;
    },
    freeze: () => signalIt('SIGSTOP'),
    thaw: () => signalIt('SIGCONT'),
    tail: (lines = 20) => readFileSync(logFile, 'utf8').split('\n').slice(-lines).join('\n'),
    ends: () => ends,
  };
  const again = (env: Readonly<Record<string, string>>): void => {
    if (isWanted && (program.mayRun?.() ?? true)) supervised.start(env);
  };
  return supervised;
}

/** The words that let the kernel end what follows when its parent ends. */
export const dieWithParent: readonly string[] = ['setpriv', '--pdeathsig', 'KILL'];

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

/** Process ids, as this process sees them; none of a process that is gone. */
export function childrenOf(pid: number): number[] {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return [];
    throw error;
  }
  return text === '' ? [] : text.split(' ').map(Number);
}
