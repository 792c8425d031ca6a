// What to create and to remove for a Service, from what is observed. Each call looks at everything anew: it can run
// on a cache that is behind, because names are derived from slots and removals name a UID.
import type { Container } from '../../crds/container.ts';
import type { Service } from '../../crds/service.ts';
import { backoffDelayMs } from '../../lib/backoff.ts';
import { emptySlot, groupBySlot, HEALED_ANNOTATION, isAvailable, isOfRevision, isReady } from './slots.ts';
import { planUpdate, type Place, type UpdatePlan } from './update-plan.ts';
import { gateSeconds, type Update } from './update-state.ts';
import { orderOf } from './update-strategy.ts';
import type { WantedSlot } from './wanted-slots.ts';

export interface ServiceObserved {
  readonly service: Service;
  readonly wanted: readonly WantedSlot[];
  /** Containers this Service controls. */
  readonly children: readonly Container[];
  /** Is there a Container of that name that the Service does not control? */
  readonly isForeign: (name: string) => boolean;
  readonly update: Update;
  /** Hash of the template that the Containers are brought to. */
  readonly target: string;
  /** Hash of the template for empty slots that the update has no room for. */
  readonly fallback: string;
  readonly now: number;
}

export interface Creation {
  readonly name: string;
  readonly wanted: WantedSlot;
  /** Hash of its template. */
  readonly revision: string;
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

const HEAL_BACKOFF = { initialMs: 1_000, maxMs: 300_000 };
/** A Container that lived this long failed for a new reason: its backoff starts again. */
const HEALTHY_LIFE_MS = 300_000;

/** Scaling, healing, then as much of an update as its strategy allows now. */
export function planReplicas(observed: ServiceObserved): ServicePlan {
  const { service, wanted, target } = observed;
  const slots = groupBySlot(service, observed.children, target);
  const wantedNames = new Set(wanted.map(({ slot }) => slot));
  const places = wanted.map((one) => ({ wanted: one, ...(slots.get(one.slot) ?? emptySlot(one.slot)) }));
  const update = planUpdate(places, observed);

  const remove: Removal[] = [];
  const wishes: Creation[] = [];
  const waits: number[] = [...(update.lookAgainMs === undefined ? [] : [update.lookAgainMs])];
  for (const [name, { current, outdated, failed }] of slots) {
    if (wantedNames.has(name)) continue;
    for (const container of [...current, ...outdated, ...failed]) remove.push({ container, why: 'ScaledDown' });
  }
  for (const place of places) {
    const step = planSlot(place, observed, update);
    remove.push(...step.remove);
    if (step.create) wishes.push(step.create);
    if (step.lookAgainMs !== undefined) waits.push(step.lookAgainMs);
  }
  return {
    create: wishes.filter(({ name }) => !observed.isForeign(name)),
    remove,
    conflicts: wishes.filter(({ name }) => observed.isForeign(name)).map(({ name }) => name),
    ...(waits.length === 0 ? {} : { requeueAfterMs: Math.min(...waits) }),
  };
}

interface SlotStep {
  readonly create?: Creation;
  readonly remove: readonly Removal[];
  readonly lookAgainMs?: number;
}

// One slot by itself: cleared of what is double, outdone or failed, then filled. There are never more than two
// Containers in it, the second one a newcomer of StartFirst.
function planSlot(place: Place, observed: ServiceObserved, update: UpdatePlan): SlotStep {
  const { service, now, target } = observed;
  const { slot, deleting } = place;
  const [keep, ...doubles] = place.current.toSorted(byUse);
  const [old, ...olds] = place.outdated.toSorted(byUse);
  const remove: Removal[] = [...doubles, ...olds].map((container) => ({ container, why: 'Superfluous' }));
  const isStartFirst = orderOf(service).order === 'StartFirst';
  const isOutdone =
    keep !== undefined && (!isStartFirst || isAvailable(keep, gateSeconds(service, observed.update), now));
  const isReplaced = update.replace.has(slot);
  if (old && (isOutdone || (isReplaced && !isStartFirst))) remove.push({ container: old, why: 'Updated' });

  const waits: number[] = [];
  for (const container of place.failed) {
    const isNew = isOfRevision(container, target);
    const waitMs = healDelayMs(container, now);
    // What is replaced anyway, or has a successor already, need not wait.
    if (keep || (!isNew && (old || update.fill.has(slot)))) remove.push({ container, why: 'Updated' });
    else if (waitMs <= 0) remove.push({ container, why: 'Failed' });
    else waits.push(waitMs);
  }
  const step = { remove, ...(waits.length === 0 ? {} : { lookAgainMs: Math.min(...waits) }) };
  if (keep || deleting.length > 0 || place.failed.length > 0 || olds.length > 0) return step;
  const { name } = service.metadata;
  if (old) {
    if (!isReplaced || !isStartFirst) return step;
    // The old one goes when the newcomer has passed; until then both have the slot.
    return { ...step, create: { name: `${name}-${slot}-${target}`, wanted: place.wanted, revision: target } };
  }
  const revision = update.fill.has(slot) ? target : observed.fallback;
  return { ...step, create: { name: `${name}-${slot}`, wanted: place.wanted, revision } };
}

/** Of several in a slot the Ready one stays, else the oldest. */
const byUse = (a: Container, b: Container): number => Number(isReady(b)) - Number(isReady(a));

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
