// What to create and to remove for a Service, from what is observed. Each call looks at everything anew: it can run
// on a cache that is behind, because names are derived from slots and removals name a UID.
import type { Container } from '../../crds/container.ts';
import type { Service, UpdateStrategy } from '../../crds/service.ts';
import { backoffDelayMs } from '../../lib/backoff.ts';
import { groupBySlot, HEALED_ANNOTATION, isAvailable, isReady, readySinceMs, type Slot } from './slots.ts';

export interface ServiceObserved {
  readonly service: Service;
  /** Containers this Service controls. */
  readonly children: readonly Container[];
  /** Is there a Container of that name that the Service does not control? */
  readonly isForeign: (name: string) => boolean;
  /** Hash of the newest template. */
  readonly revision: string;
  readonly now: number;
}

export interface Creation {
  readonly name: string;
  readonly slot: number;
}

export interface Removal {
  readonly container: Container;
  readonly why: 'ScaledDown' | 'Updated' | 'Failed' | 'Superfluous';
}

export interface ServicePlan {
  readonly create: readonly Creation[];
  readonly remove: readonly Removal[];
  /** Names that are taken by Containers of others. */
  readonly conflicts: readonly string[];
  /** Look again then, although nothing may have changed: a delay or a backoff ends. */
  readonly requeueAfterMs?: number;
}

const DEFAULT_STRATEGY: Pick<
  UpdateStrategy,
  'parallelism' | 'delaySeconds' | 'order' | 'failureAction' | 'maxFailurePercent'
> = { parallelism: 1, delaySeconds: 0, order: 'StopFirst', failureAction: 'Pause', maxFailurePercent: 0 };

const HEAL_BACKOFF = { initialMs: 1_000, maxMs: 300_000 };
/** A Container that lived this long failed for a new reason: its backoff starts again. */
const HEALTHY_LIFE_MS = 300_000;

/** Scaling, healing, then as much of an update as its strategy allows now. */
export function planReplicas(observed: ServiceObserved): ServicePlan {
  const { service, revision } = observed;
  const slots = groupBySlot(observed.children, revision);
  const create: Creation[] = [];
  const remove: Removal[] = [];
  const conflicts: string[] = [];
  let requeueAfterMs: number | undefined;
  const lookAgain = (delayMs: number): void => {
    requeueAfterMs = Math.min(requeueAfterMs ?? Number.POSITIVE_INFINITY, delayMs);
  };

  for (const slot of slots.values()) {
    if (slot.slot <= service.spec.replicas) continue;
    for (const container of [...slot.current, ...slot.outdated, ...slot.failed]) {
      remove.push({ container, why: 'ScaledDown' });
    }
  }

  for (let number = 1; number <= service.spec.replicas; number += 1) {
    const slot = slots.get(number) ?? { slot: number, current: [], outdated: [], failed: [], deleting: [] };
    const step = planSlot(slot, observed);
    remove.push(...step.remove);
    if (step.lookAgainMs !== undefined) lookAgain(step.lookAgainMs);
    if (!step.create) continue;
    if (observed.isForeign(step.create.name)) conflicts.push(step.create.name);
    else create.push(step.create);
  }

  const update = planUpdate(slots, observed);
  remove.push(...update.remove);
  for (const creation of update.create) {
    if (observed.isForeign(creation.name)) conflicts.push(creation.name);
    else create.push(creation);
  }
  if (update.lookAgainMs !== undefined) lookAgain(update.lookAgainMs);
  return { create, remove, conflicts, ...(requeueAfterMs === undefined ? {} : { requeueAfterMs }) };
}

interface SlotStep {
  readonly create?: Creation;
  readonly remove: readonly Removal[];
  readonly lookAgainMs?: number;
}

interface UpdateStep {
  readonly create: readonly Creation[];
  readonly remove: readonly Removal[];
  readonly lookAgainMs?: number;
}

// One slot by itself: filled when empty, cleared of what failed or is double.
function planSlot(slot: Slot, { service, now }: ServiceObserved): SlotStep {
  const remove: Removal[] = [];
  const [keep, ...doubles] = slot.current.toSorted((a, b) => Number(isReady(b)) - Number(isReady(a)));
  for (const container of doubles) remove.push({ container, why: 'Superfluous' });
  if (keep && (isAvailable(keep, service.spec.minReadySeconds, now) || strategyOf(service).order === 'StopFirst')) {
    for (const container of slot.outdated) remove.push({ container, why: 'Updated' });
  }
  const isEmpty = slot.current.length + slot.outdated.length + slot.deleting.length === 0;
  if (slot.failed.length > 0) {
    const waits = slot.failed.map((container) => healDelayMs(container, now));
    const waitMs = Math.min(...waits);
    if (waitMs > 0 && isEmpty) return { remove, lookAgainMs: waitMs };
    return { remove: [...remove, ...slot.failed.map((container) => ({ container, why: 'Failed' }) as const)] };
  }
  if (!isEmpty) return { remove };
  return { remove, create: { name: `${service.metadata.name}-${slot.slot}`, slot: slot.slot } };
}

function healDelayMs(container: Container, now: number): number {
  const count = Math.max(1, nextHealed(container));
  const finishedAt = Date.parse(container.status?.finishedAt ?? '');
  const since = Number.isNaN(finishedAt) ? now : finishedAt;
  return since + backoffDelayMs(count, HEAL_BACKOFF) - now;
}

/** The value of HEALED_ANNOTATION for the successor of a Container that failed. */
export function nextHealed(failed: Container): number {
  const before = Number(failed.metadata.annotations?.[HEALED_ANNOTATION] ?? 0);
  const livedMs = Date.parse(failed.status?.finishedAt ?? '') - Date.parse(failed.status?.startedAt ?? '');
  return livedMs >= HEALTHY_LIFE_MS || !Number.isSafeInteger(before) ? 1 : before + 1;
}

// Slots that still have the old template, at most `parallelism` on their way at a time. One that fails stays on its
// way and so holds the update up (Pause); maxFailurePercent and Continue say how many of those do not count.
function planUpdate(slots: ReadonlyMap<number, Slot>, { service, revision, now }: ServiceObserved): UpdateStep {
  const strategy = strategyOf(service);
  const { replicas, minReadySeconds } = service.spec;
  const inRange = [...slots.values()].filter(({ slot }) => slot <= replicas).toSorted((a, b) => a.slot - b.slot);
  const candidates = inRange.filter(
    ({ current, outdated, failed }) => current.length === 0 && failed.length === 0 && outdated.length > 0,
  );
  const create: Creation[] = [];
  const remove: Removal[] = [];
  if (candidates.length === 0) return { create, remove };

  const isDone = ({ current }: Slot): boolean => current.some((child) => isAvailable(child, minReadySeconds, now));
  const untouched = new Set(candidates.map(({ slot }) => slot));
  let onTheirWay = replicas - inRange.filter((slot) => untouched.has(slot.slot) || isDone(slot)).length;
  const tolerated =
    strategy.failureAction === 'Continue' ? replicas : Math.floor((replicas * strategy.maxFailurePercent) / 100);
  const failing = inRange.filter((slot) => !isDone(slot) && slot.current.some(isFailing)).length;
  onTheirWay -= Math.min(failing, tolerated);

  const waitMs = delayLeftMs(inRange, strategy.delaySeconds, now);
  if (waitMs > 0) return { create, remove, lookAgainMs: waitMs };
  const limit = strategy.parallelism === 0 ? replicas : strategy.parallelism;
  // Replicas that do not work anyway go first: replacing them costs nobody anything.
  const sorted = candidates.toSorted((a, b) => Number(a.outdated.some(isReady)) - Number(b.outdated.some(isReady)));
  for (const slot of sorted.slice(0, Math.max(0, limit - onTheirWay))) {
    if (strategy.order === 'StartFirst') {
      // The old one goes when the newcomer is available; until then both have the slot.
      if (slot.deleting.length > 0) continue;
      create.push({ name: `${service.metadata.name}-${slot.slot}-${revision}`, slot: slot.slot });
    } else {
      for (const container of slot.outdated) remove.push({ container, why: 'Updated' });
    }
  }
  return { create, remove, ...nextAvailabilityMs(inRange, minReadySeconds, now) };
}

export const strategyOf = (service: Service): typeof DEFAULT_STRATEGY => ({
  ...DEFAULT_STRATEGY,
  ...service.spec.updateStrategy,
});

/** A Container that was started again, or cannot be: the sign of a bad template. */
function isFailing(child: Container): boolean {
  const reason = child.status?.reason ?? '';
  return !isReady(child) && (reason === 'BackOff' || (child.status?.restartCount ?? 0) > 0);
}

function delayLeftMs(slots: readonly Slot[], delaySeconds: number, now: number): number {
  const updated = slots.flatMap(({ current }) => current.map(readySinceMs)).filter((since) => since !== undefined);
  return updated.length === 0 ? 0 : Math.max(...updated) + delaySeconds * 1000 - now;
}

function nextAvailabilityMs(slots: readonly Slot[], minReadySeconds: number, now: number): { lookAgainMs?: number } {
  const waits = slots
    .flatMap(({ current }) => current.map(readySinceMs))
    .map((since) => (since === undefined ? 0 : since + minReadySeconds * 1000 - now))
    .filter((wait) => wait > 0);
  return waits.length === 0 ? {} : { lookAgainMs: Math.min(...waits) };
}
