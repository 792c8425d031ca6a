// Sandboxes on their way out. Their names, ports and permission to send go at once, with the call that ends them; the
// kernel then takes some 20 ms to remove their links, which nobody waits for. Until then their addresses stay taken.
import type { Logger } from '../../lib/log.ts';
import type { SandboxRecord } from './records.ts';

export interface Departures {
  has(sandboxId: string): boolean;
  /** Calls `leave` in the background and resolves when it is done; never rejects. */
  begin(record: SandboxRecord, leave: () => Promise<void>): Promise<void>;
  /** Resolves when everyone who was leaving is gone; true when there was somebody. */
  settled(): Promise<boolean>;
}

export function createDepartures(log: Logger): Departures {
  const leaving = new Map<string, Promise<void>>();
  return {
    has: (sandboxId) => leaving.has(sandboxId),
    begin(record, leave) {
      const done = leave()
        // The record is still there: the next start of the shim finishes it.
        .catch((err: unknown) => log.error({ sandboxId: record.id, err }, 'failed to remove the links of a sandbox'))
        .finally(() => leaving.delete(record.id));
      leaving.set(record.id, done);
      return done;
    },
    async settled() {
      const anybody = leaving.size > 0;
      await Promise.all(leaving.values());
      return anybody;
    },
  };
}

/** What is left of a record whose sandbox leaves: its links and addresses. */
export const withoutRights = (record: SandboxRecord): SandboxRecord => ({
  ...record,
  ports: [],
  endpoints: record.endpoints.map((endpoint) => ({ ...endpoint, names: [] })),
});
