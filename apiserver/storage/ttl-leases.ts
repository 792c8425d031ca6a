// etcd leases for objects that disappear by themselves. One lease serves all objects of the same minute: a lease per
// object would cost the store more than the object.
import type { Clock } from '../../lib/clock.ts';
import type { EtcdCaller } from './etcd-client.ts';

const REUSE_MS = 60_000;

/** Gives the id of a lease that ends `ttlSeconds` to `ttlSeconds + 60` from now. */
export function createTtlLeases(call: EtcdCaller, clock: Clock): (ttlSeconds: number) => Promise<string> {
  const current = new Map<number, { id: Promise<string>; since: number }>();
  return (ttlSeconds) => {
    const known = current.get(ttlSeconds);
    if (known && clock.now() - known.since < REUSE_MS) return known.id;
    const id = call('leaseGrant', (etcd) => etcd.leaseClient.leaseGrant({ TTL: ttlSeconds + REUSE_MS / 1000 })).then(
      (response) => response.ID,
    );
    current.set(ttlSeconds, { id, since: clock.now() });
    // A failed grant must not be handed out for a minute.
    id.catch(() => current.delete(ttlSeconds));
    return id;
  };
}
