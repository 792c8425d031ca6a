// Forgets old revisions every five minutes. Any number of servers run this; a compare-and-swap on one key decides which
// of them does it in each period, and only the revision recorded a whole period ago is compacted.
import type { Clock } from '../../lib/clock.ts';
import { isAbort, messageOf } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { EtcdCaller } from './etcd-client.ts';

export interface CompactionOptions {
  readonly call: EtcdCaller;
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly intervalMs?: number;
}

/** Runs until `signal` fires; failures wait for the next period. */
export async function runCompaction(options: CompactionOptions, signal: AbortSignal): Promise<void> {
  const { call, clock, log, intervalMs = 300_000 } = options;
  const key = Buffer.from(`${options.prefix}compaction`);
  let seen = { version: '0', revision: 0 };
  for (;;) {
    try {
      await clock.sleep(intervalMs, signal);
    } catch (error) {
      if (isAbort(error)) return;
      throw error;
    }
    try {
      const swap = await call('compactionLease', (etcd) =>
        etcd.kv.txn({
          compare: [{ key, target: 'Version', result: 'Equal', version: seen.version }],
          success: [{ request_put: { key, value: Buffer.from('{}') } }],
          failure: [{ request_range: { key } }],
        }),
      );
      const revision = Number(swap.header.revision);
      if (swap.succeeded) {
        if (seen.revision > 0) {
          await call('compact', (etcd) => etcd.kv.compact({ revision: String(seen.revision), physical: false }));
          log.debug({ revision: seen.revision }, 'compacted the store');
        }
        seen = { version: String(Number(seen.version) + 1), revision };
      } else {
        const kv = swap.responses[0]?.response_range?.kvs[0];
        seen = { version: kv?.version ?? '0', revision };
      }
    } catch (error) {
      log.warn({ err: messageOf(error) }, 'failed to compact the store');
    }
  }
}
