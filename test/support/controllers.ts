// The controllers as the process they are, so that a test can kill it.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const ENTRY = fileURLToPath(new URL('../../controllers/main.ts', import.meta.url));

export interface TestControllers extends AsyncDisposable {
  readonly process: ChildProcess;
  /** What it logged, parsed. */
  readonly log: Record<string, unknown>[];
  metricsAddress(): string | undefined;
  isLeader(): boolean;
  kill(signal: NodeJS.Signals): Promise<void>;
}

/**
 * Starts `controllers/main.ts` with short times for nodes. The lease is long unless `flags` say otherwise: controllers that
 * lose it on a busy machine end, and nobody starts them again here.
 */
export function startTestControllers(kubeconfig: string, flags: readonly string[] = []): TestControllers {
  const times = [
    '--lease-duration-seconds',
    '60',
    '--node-monitor-grace-seconds',
    '3',
    '--eviction-delay-seconds',
    '1',
  ];
  const child = spawn(process.execPath, [ENTRY, '--kubeconfig', kubeconfig, ...times, ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const log: Record<string, unknown>[] = [];
  let rest = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) log.push(parseLine(line));
    if (process.env['WINDLASS_TEST_LOG']) process.stderr.write(chunk);
  });
  const ended = once(child, 'exit');
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await ended;
  };
  const find = (message: string): Record<string, unknown> | undefined => log.find(({ msg }) => msg === message);
  return {
    process: child,
    log,
    metricsAddress: () => find('starting')?.['metricsAddress'] as string | undefined,
    isLeader: () => find('became leader') !== undefined,
    kill,
    [Symbol.asyncDispose]: () => kill('SIGKILL'),
  };
}

function parseLine(line: string): Record<string, unknown> {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return { msg: line };
  }
}
