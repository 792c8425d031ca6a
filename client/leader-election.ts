// Leader election by a Lease, upstream's protocol: whoever holds it and keeps renewing leads; the others wait until it
// has not changed for its duration, by their own clock (clocks of machines are never compared).
import { leaseKind, type Lease } from '../crds/builtin.ts';
import { rfc3339Micro, type Clock } from '../lib/clock.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { ApiClient, KindClient } from './client.ts';
import { pause } from './pause.ts';

export interface LeaderElectionOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  readonly name: string;
  /** Unlike that of any other candidate, also of an earlier run of this process. */
  readonly identity: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** A leader that did not renew for so long has lost; 15 s unless said. */
  readonly leaseDurationMs?: number;
  /** A leader that could not renew for so long stops by itself, before others may start; 10 s unless said. */
  readonly renewDeadlineMs?: number;
  /** Time between tries; 2 s unless said. */
  readonly retryMs?: number;
}

/**
 * Waits for the lead, then runs `lead` with a signal that fires when `signal` does or the lead is lost. Resolves when
 * `signal` fired (the Lease is then given back, so that the next leader need not wait); rejects with what `lead` rejects
 * with, or when the lead was lost: the process should then start anew.
 */
export async function runAsLeader(
  options: LeaderElectionOptions,
  lead: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { log, identity } = options;
  const candidate = createCandidate(options);
  if (!(await acquire(candidate, options, signal))) return;
  log.info({ lease: options.name, identity }, 'became leader');
  const lost = new AbortController();
  const done = new AbortController();
  const renewing = keepRenewing(candidate, options, lost, AbortSignal.any([signal, done.signal]));
  try {
    await lead(AbortSignal.any([signal, lost.signal]));
    if (lost.signal.aborted && !signal.aborted) throw new Error(`lost the lead of lease ${options.name}`);
  } finally {
    done.abort();
    await renewing;
    if (!lost.signal.aborted) await release(candidate, options);
  }
}

interface Candidate {
  /** Takes or renews the Lease. `raced` = somebody wrote at the same moment; the next try tells who holds it. */
  tryAcquire(signal: AbortSignal): Promise<'holding' | 'taken' | 'raced'>;
  release(signal: AbortSignal): Promise<void>;
}

function createCandidate(options: LeaderElectionOptions): Candidate {
  const { clock, namespace, name, identity, labels, annotations } = options;
  const leases: KindClient<Lease> = options.client.kind<Lease>(leaseKind);
  const durationMs = options.leaseDurationMs ?? 15_000;
  // What was last seen of the holder, and when by our clock.
  let seen = { mark: '', at: 0 };

  const ownSpec = (old: Lease['spec']): NonNullable<Lease['spec']> => {
    const now = rfc3339Micro(clock.now());
    const isRenewal = old?.holderIdentity === identity;
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(durationMs / 1000),
      acquireTime: isRenewal ? (old.acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: (old?.leaseTransitions ?? 0) + (isRenewal || !old ? 0 : 1),
    };
  };
  const isFree = (lease: Lease): boolean => {
    const holder = lease.spec?.holderIdentity ?? '';
    if (holder === '' || holder === identity) return true;
    const mark = `${lease.metadata.uid}/${holder}/${lease.spec?.renewTime}`;
    if (mark !== seen.mark) seen = { mark, at: clock.now() };
    const heldForMs = Math.max(durationMs, (lease.spec?.leaseDurationSeconds ?? 0) * 1000);
    return clock.now() - seen.at >= heldForMs;
  };
  const metadata = { ...(labels ? { labels } : {}), ...(annotations ? { annotations } : {}) };
  // As this candidate wrote it last: a renewal is one request, as long as nobody else writes.
  let held: Lease | undefined;
  const write = async (lease: Lease, signal: AbortSignal): Promise<void> => {
    const next = {
      ...lease.metadata,
      labels: { ...lease.metadata.labels, ...labels },
      annotations: { ...lease.metadata.annotations, ...annotations },
    };
    held = undefined;
    held = await leases.update({ ...lease, metadata: next, spec: ownSpec(lease.spec) }, signal);
  };
  return {
    async tryAcquire(signal) {
      if (held) {
        try {
          await write(held, signal);
          return 'holding';
        } catch (error) {
          if (!isConflict(error) && !isNotFound(error)) throw error;
        }
      }
      const lease = await leases.get(name, namespace, signal);
      try {
        if (!lease) {
          const fields = { ...metadata, name, namespace };
          held = await leases.create({ metadata: fields, spec: ownSpec(undefined) }, signal);
        } else if (!isFree(lease)) {
          return 'taken';
        } else {
          await write(lease, signal);
        }
        return 'holding';
      } catch (error) {
        if (isConflict(error) || isAlreadyExists(error)) return 'raced';
        throw error;
      }
    },
    async release(signal) {
      const lease = await leases.get(name, namespace, signal);
      if (lease?.spec?.holderIdentity !== identity) return;
      const spec = { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: rfc3339Micro(clock.now()) };
      await leases.update({ ...lease, spec }, signal);
    },
  };
}

async function acquire(candidate: Candidate, options: LeaderElectionOptions, signal: AbortSignal): Promise<boolean> {
  const retryMs = options.retryMs ?? 2_000;
  let waits = false;
  while (!signal.aborted) {
    try {
      const outcome = await candidate.tryAcquire(AbortSignal.any([signal, AbortSignal.timeout(retryMs * 5)]));
      if (outcome === 'holding') return true;
      if (!waits) options.log.info({ lease: options.name }, 'another process leads, waiting');
      waits = true;
    } catch (err) {
      if (!signal.aborted) options.log.debug({ err, lease: options.name }, 'cannot ask for the lead');
    }
    await pause(options.clock, retryMs, signal);
  }
  return false;
}

/** Renews until `signal` fires; aborts `lost` when another holds the Lease or the deadline passed without a renewal. */
async function keepRenewing(
  candidate: Candidate,
  options: LeaderElectionOptions,
  lost: AbortController,
  signal: AbortSignal,
): Promise<void> {
  const retryMs = options.retryMs ?? 2_000;
  const deadlineMs = options.renewDeadlineMs ?? 10_000;
  let renewedAt = options.clock.now();
  for (;;) {
    await pause(options.clock, retryMs, signal);
    if (signal.aborted) return;
    const leftMs = Math.max(deadlineMs - (options.clock.now() - renewedAt), 1);
    let failure: unknown;
    try {
      const outcome = await candidate.tryAcquire(AbortSignal.any([signal, AbortSignal.timeout(leftMs)]));
      if (outcome === 'holding') {
        renewedAt = options.clock.now();
        continue;
      }
      failure = new Error(`lease is ${outcome}`);
      if (outcome === 'taken') renewedAt = -Infinity;
    } catch (err) {
      if (signal.aborted) return;
      failure = err;
    }
    if (options.clock.now() - renewedAt < deadlineMs) {
      options.log.debug({ err: failure, lease: options.name }, 'lease not renewed, trying again');
      continue;
    }
    options.log.error({ err: failure, lease: options.name }, 'lost the lead');
    lost.abort();
    return;
  }
}

async function release(candidate: Candidate, { log, name }: LeaderElectionOptions): Promise<void> {
  try {
    await candidate.release(AbortSignal.timeout(2_000));
  } catch (err) {
    log.debug({ err, lease: name }, 'lease not given back; the next leader waits until it runs out');
  }
}
