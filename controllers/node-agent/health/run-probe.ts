// Runs one probe against a container.
import { get } from 'node:http';
import { connect } from 'node:net';
import { LONGEST_TIMER_MS } from '../../../lib/clock.ts';
import { isAbort, messageOf } from '../../../lib/errors.ts';
import type { Probe } from './health-check.ts';
import type { ProbeResult } from './health-state.ts';

const MESSAGE_LIMIT = 512;

export interface ProbeTarget {
  /** Address of the container as seen from the host; undefined when it has none. */
  readonly ip: string | undefined;
  /** Runs a command inside; resolves with exit code and output, whatever the code. */
  exec(
    command: readonly string[],
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<{ exitCode: number; output: string }>;
}

/** One probe; never throws for a failing one, only when `signal` fires. */
export async function runProbe(
  probe: Probe,
  target: ProbeTarget,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(Math.min(timeoutMs, LONGEST_TIMER_MS))]);
  try {
    if (probe.kind === 'exec') {
      const { exitCode, output } = await target.exec(probe.command, timeoutMs, signal);
      return exitCode === 0 ? { ok: true } : failure(`exit code ${exitCode}: ${output.trim()}`);
    }
    if (target.ip === undefined) return failure('the container has no address to probe');
    if (probe.kind === 'tcp') {
      await connectOnce(target.ip, probe.port, limit);
      return { ok: true };
    }
    const status = await httpStatus(target.ip, probe.port, probe.path, limit);
    return status >= 200 && status < 400 ? { ok: true } : failure(`HTTP status ${status}`);
  } catch (error) {
    if (signal.aborted) throw error;
    if (limit.aborted || isAbort(error)) return failure(`no answer within ${timeoutMs / 1000} s`);
    return failure(messageOf(error));
  }
}

const failure = (message: string): ProbeResult => ({ ok: false, message: message.slice(0, MESSAGE_LIMIT) });

function connectOnce(host: string, port: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
  });
}

function httpStatus(host: string, port: number, path: string, signal: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    // A fresh connection each time: a probe must see whether the server still accepts.
    const request = get({ host, port, path, signal, agent: false, headers: { 'user-agent': 'windlass-probe' } });
    request.once('error', reject);
    request.once('response', (response) => {
      response.destroy();
      resolve(response.statusCode ?? 0);
    });
  });
}
