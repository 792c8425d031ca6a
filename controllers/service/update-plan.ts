// Which slots an update may touch now: at most `parallelism` are on their way from the old template to the new one.
import type { ServiceObserved } from './plan.ts';
import { parseSlotSet } from './slot-set.ts';
import {
  isAvailable,
  isOfRevision,
  isReady,
  isUnreachable,
  nextAvailableMs,
  readySinceMs,
  type Slot,
} from './slots.ts';
import { gateSeconds, isFirst, isHeld, isMoving, toleratedFailures } from './update-state.ts';
import { strategyOf } from './update-strategy.ts';
import type { WantedSlot } from './wanted-slots.ts';

/** A wanted slot and what is in it. */
export type Place = Slot & { readonly wanted: WantedSlot };

export interface UpdatePlan {
  /** Slots whose old Container is to be replaced now. */
  readonly replace: ReadonlySet<string>;
  /** Slots that get the new template when they are empty; the others get the one before. */
  readonly fill: ReadonlySet<string>;
  readonly lookAgainMs?: number;
}

/**
 * A slot is on its way from the removal of its old Container, or with StartFirst from the creation of the newcomer,
 * until the new one has passed. One that fails stays on its way and so holds the update up; what maxFailurePercent and
 * Continue tolerate does not count. A slot that is empty for another reason gets the new template only when there is
 * room for it as well: half the nodes may die in the middle of an update to something that does not work.
 */
export function planUpdate(places: readonly Place[], observed: ServiceObserved): UpdatePlan {
  const { service, update, now } = observed;
  const strategy = strategyOf(service);
  const gate = gateSeconds(service, update);
  const failed = parseSlotSet(service, update.failedSlots);
  const updated = parseSlotSet(service, update.updatedSlots);

  const isDone = ({ slot, current }: Place): boolean =>
    current.some((child) => isAvailable(child, updated.has(slot) ? service.spec.minReadySeconds : gate, now));
  const hasMoved = ({ slot, current, failed: over }: Place): boolean =>
    current.length > 0 ||
    updated.has(slot) ||
    failed.has(slot) ||
    over.some((child) => isOfRevision(child, observed.target));
  const isUntouched = ({ current, outdated, failed: over }: Place): boolean =>
    outdated.length > 0 && current.length === 0 && !over.some((child) => isOfRevision(child, observed.target));

  const inReach = places.filter((place) => !isOutOfReach(place));
  const open = inReach.filter((place) => !isUntouched(place) && !isDone(place));
  const vacant = open.filter((place) => !hasMoved(place));
  const failing = open.filter(({ slot }) => failed.has(slot)).length;
  const tolerated = Math.min(failing, toleratedFailures(service, places.length));
  const limit = isMoving(update) ? strategy.parallelism || places.length : 0;
  const room = Math.max(0, limit - (open.length - vacant.length - tolerated));

  // Where nothing holds the update up, what is empty gets what is wanted.
  const isFree = isFirst(update) || !(isMoving(update) || isHeld(update));
  const filled = isFree ? vacant : vacant.slice(0, room);
  const fill = new Set([...places.filter(hasMoved), ...filled].map(({ slot }) => slot));
  const current = places.flatMap((place) => place.current);
  const availableMs = nextAvailableMs(current, gate, now);

  const candidates = inReach.filter(isUntouched);
  const left = room - vacant.length;
  if (candidates.length === 0 || left <= 0) return { replace: new Set(), fill, ...lookAgain(availableMs) };
  const delayMs = delayLeftMs(places, strategy.delaySeconds, now);
  if (delayMs > 0) return { replace: new Set(), fill, ...lookAgain(availableMs, delayMs) };
  // Replicas that do not work anyway go first: replacing them costs nobody anything.
  const sorted = candidates.toSorted((a, b) => Number(a.outdated.some(isReady)) - Number(b.outdated.some(isReady)));
  return { replace: new Set(sorted.slice(0, left).map(({ slot }) => slot)), fill, ...lookAgain(availableMs) };
}

// The Container of a Global Service on a node that does not answer stays until the node is back, and one that is made
// meanwhile waits for it; the others need not. A Replicated one is soon released and made again elsewhere.
function isOutOfReach({ wanted, current, outdated, deleting }: Place): boolean {
  if (wanted.isAway) return true;
  const there = [...current, ...outdated, ...deleting];
  return wanted.nodeName !== undefined && there.length > 0 && there.every(isUnreachable);
}

function lookAgain(...waits: readonly (number | undefined)[]): { lookAgainMs?: number } {
  const known = waits.filter((wait) => wait !== undefined);
  return known.length === 0 ? {} : { lookAgainMs: Math.min(...known) };
}

/** How long the next slot has to wait because of delaySeconds. */
export function delayLeftMs(places: readonly Place[], delaySeconds: number, now: number): number {
  const since = places.flatMap(({ current }) => current.map(readySinceMs)).filter((time) => time !== undefined);
  return since.length === 0 ? 0 : Math.max(...since) + delaySeconds * 1000 - now;
}
