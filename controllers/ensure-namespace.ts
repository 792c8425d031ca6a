import type { ApiClient } from '../client/client.ts';
import { pause } from '../client/pause.ts';
import { namespaceKind, type Namespace } from '../crds/builtin.ts';
import type { Clock } from '../lib/clock.ts';
import { isAlreadyExists } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';

const RETRY_MS = 200;

/** Waits for the server and makes sure that it has the namespace; returns when it does or `signal` fires. */
export async function ensureNamespace(
  { client, clock, log }: { client: ApiClient; clock: Clock; log: Logger },
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const namespaces = client.kind<Namespace>(namespaceKind);
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      if (await namespaces.get(name, undefined, signal)) return;
      await namespaces.create({ metadata: { name } }, signal);
      return;
    } catch (err) {
      if (isAlreadyExists(err)) return;
      if (!signal.aborted && failures % 10 === 0) log.warn({ err }, 'waiting for the API server');
      await pause(clock, RETRY_MS, signal);
    }
  }
}
