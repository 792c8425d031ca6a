// How the agent goes on while the API server is away or hangs: it waits for it a moment only, and works with what it
// knew last. Containers are restarted all the same.
import type { KubernetesObject } from '../../crds/kind.ts';
import { isAbort, isUnavailable, reasonOf, WindlassError } from '../../lib/errors.ts';

const PATIENCE_MS = 3000;
const MAX_REMEMBERED = 1024;

/** Calls the server with a limit of its own; throws Unavailable when that is over, whatever `ask` makes of it. */
export async function askPatiently<T>(signal: AbortSignal, ask: (limited: AbortSignal) => Promise<T>): Promise<T> {
  const limit = AbortSignal.timeout(PATIENCE_MS);
  try {
    return await ask(AbortSignal.any([signal, limit]));
  } catch (cause) {
    if (signal.aborted || !limit.aborted || !(isAbort(cause) || cause === limit.reason)) throw cause;
    throw new WindlassError('Unavailable', `the API server did not answer within ${PATIENCE_MS} ms`, { cause });
  }
}

/** Whether a call failed because the server did not answer, and not because the agent is being stopped. */
export const isServerAway = (error: unknown, signal: AbortSignal): boolean =>
  !signal.aborted && (isUnavailable(error) || isAbort(error) || reasonOf(error) === 'Timeout');

type Get<T> = (namespace: string, name: string, signal: AbortSignal) => Promise<T | undefined>;

/** `get`, answering what it answered last while the server is away or cannot answer. */
export function withLastKnown<T extends KubernetesObject>(get: Get<T>): Get<T> {
  const known = new Map<string, T>();
  return async (namespace, name, signal) => {
    const key = `${namespace}/${name}`;
    try {
      const found = await askPatiently(signal, (limited) => get(namespace, name, limited));
      known.delete(key);
      if (!found) return undefined;
      known.set(key, found);
      const [oldest] = known.keys();
      if (oldest !== undefined && known.size > MAX_REMEMBERED) known.delete(oldest);
      return found;
    } catch (error) {
      const isIll = isServerAway(error, signal) || ['Internal', 'TooManyRequests'].includes(reasonOf(error) ?? '');
      const last = isIll ? known.get(key) : undefined;
      if (!last) throw error;
      return last;
    }
  };
}
