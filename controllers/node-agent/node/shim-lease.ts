// The Lease by which Prometheus finds the runtime on this node: the runtime itself does not talk to the API server.
import type { ApiClient } from '../../../client/client.ts';
import { metricsLease, renewLease } from '../../../client/lease.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/log.ts';
import type { RunPart } from '../../../lib/run-all.ts';

/** A quarter of the Lease; the first time comes when the address is known. */
const RENEW_MS = 30_000;

export interface ShimLease extends RunPart {
  /** Asks for the metrics address again; the runtime was (re)started. */
  refresh(readAddress: () => Promise<string>): void;
}

/** The part that renews. */
export function createShimLease(deps: {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodeName: string;
}): ShimLease {
  const { client, clock, log, nodeName } = deps;
  let address: string | undefined;
  let wake = new AbortController();
  return {
    name: 'runtime-shim lease',
    refresh(readAddress) {
      readAddress().then(
        (found) => {
          if (found === '' || found === address) return;
          address = found;
          wake.abort();
        },
        (err: unknown) => log.debug({ err }, 'the runtime has no metrics address'),
      );
    },
    async run(signal) {
      while (!signal.aborted) {
        try {
          if (address !== undefined)
            await renewLease({ client, clock }, metricsLease('runtime-shim', address, nodeName), signal);
        } catch (err) {
          if (signal.aborted) return;
          log.debug({ err }, 'failed to renew the lease of the runtime');
        }
        await clock.sleep(RENEW_MS, AbortSignal.any([signal, wake.signal])).catch(() => undefined);
        if (wake.signal.aborted) wake = new AbortController();
      }
    },
  };
}
