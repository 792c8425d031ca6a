// Where the update of a Service is: which revision its Containers are brought to, and whether that goes on. Pure: the
// state before and what is observed in, the state now out. It remembers failures, so that a container that recovers in
// between does not let a bad template go on.
import type { Container } from '../../crds/container.ts';
import type { Service, ServiceStatus } from '../../crds/service.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { findRevision, hashSettings, isHashOfSettings, revisionOf, type Revision } from './revision.ts';
import { formatSlotSet, parseSlotSet } from './slot-set.ts';
import { groupBySlot, isAvailable, isOfRevision, isUnreachable, type Slot } from './slots.ts';
import { failureOf } from './update-failure.ts';
import { strategyOf } from './update-strategy.ts';
import type { WantedSlot } from './wanted-slots.ts';

export type Update = NonNullable<ServiceStatus['update']>;

export interface UpdateObserved {
  readonly service: Service;
  /** All that is known, the present template among them. */
  readonly history: readonly Revision[];
  readonly wanted: readonly WantedSlot[];
  readonly children: readonly Container[];
  readonly now: number;
}

export interface UpdateDecision {
  readonly update: Update;
  /** What the Containers are brought to. */
  readonly target: Revision;
  /** What a slot gets that the update has no room for; the target where there is nothing else. */
  readonly fallback: Revision;
  /** Why rollbackTo cannot be followed. */
  readonly refusal?: string;
}

/** The state that follows from the one in the status. Throws nothing. */
export function planUpdateState(observed: UpdateObserved): UpdateDecision {
  const { service, history } = observed;
  const newest = revisionOf(history, service.spec.template) ?? lastOf(history);
  const { rollbackTo } = service.spec;
  const asked = rollbackTo === undefined ? newest : findRevision(history, rollbackTo);
  const begun = begin(observed, asked, newest);
  const update = advance(begun, observed);
  const target = findRevision(history, update.revision) ?? newest;
  return {
    update,
    target,
    fallback: isMoving(update) || isHeld(update) ? (findRevision(history, update.fromRevision) ?? target) : target,
    ...(asked ? {} : { refusal: unknownRevision(rollbackTo, history) }),
  };
}

/** Containers are being replaced. */
export const isMoving = ({ phase }: Update): boolean => phase === 'Updating' || phase === 'RollingBack';
/** Nothing is replaced until the user says how it goes on. */
export const isHeld = ({ phase }: Update): boolean => phase === 'Paused' || phase === 'RollbackPaused';
/** There was nothing before: all slots are filled at once, and what fails holds nothing up. */
export const isFirst = ({ fromRevision }: Update): boolean => fromRevision === 0;

/** How long a new Container has to be Ready before the next one follows. */
export function gateSeconds(service: Service, update: Update): number {
  const { minReadySeconds } = service.spec;
  return isFirst(update) ? minReadySeconds : Math.max(minReadySeconds, strategyOf(service).monitorSeconds);
}

/** How many slots may fail without consequence. */
export function toleratedFailures(service: Service, wanted: number): number {
  const { failureAction, maxFailurePercent } = strategyOf(service);
  return failureAction === 'Continue' ? wanted : Math.floor((wanted * maxFailurePercent) / 100);
}

// A change of what is wanted starts anew, also from the middle of an update; replicas are not part of it.
function begin({ service, history, now }: UpdateObserved, asked: Revision | undefined, newest: Revision): Update {
  const { template, rollbackTo, updateStrategy, minReadySeconds } = service.spec;
  const fields = { template, rollbackTo, updateStrategy, minReadySeconds };
  const settings = hashSettings(fields);
  const last = service.status?.update;
  const before = last && findRevision(history, last.revision) ? last : undefined;
  if (before && (!asked || isHashOfSettings(before.settings ?? '', fields))) return before;
  const { revision } = asked ?? newest;
  if (before?.phase === 'Completed' && before.revision === revision) return { ...before, settings };
  const isDone = before?.phase === 'Completed' || before?.phase === 'RolledBack';
  const current = history.find(({ hash }) => hash === service.status?.currentRevision);
  const fromRevision = before
    ? isDone || isFirst(before)
      ? before.revision
      : before.fromRevision
    : (current?.revision ?? 0);
  return {
    // Complete before there was a status.update, in the time of an older version: nothing begins.
    phase: before === undefined && current !== undefined && current.revision === revision ? 'Completed' : 'Updating',
    revision,
    fromRevision,
    settings,
    startedAt: rfc3339(now),
    updatedSlots: '',
    failedSlots: '',
    message: '',
  };
}

function advance(update: Update, observed: UpdateObserved): Update {
  const { service, history, wanted, children, now } = observed;
  const hash = findRevision(history, update.revision)?.hash ?? '';
  const slots = groupBySlot(service, children, hash);
  const places = wanted.map(({ slot }) => slots.get(slot));
  if (update.phase === 'Completed' || update.phase === 'RolledBack') {
    const isBack = places.some((place) => place && place.outdated.length > 0);
    if (!isBack) return update;
    const phase = update.phase === 'Completed' ? 'Updating' : 'RollingBack';
    return { ...update, phase, startedAt: rfc3339(now), updatedSlots: '', failedSlots: '' };
  }
  const { updated, failed, failures } = observeSlots(update, observed, { slots, hash });
  const seen: Update = {
    ...update,
    updatedSlots: formatSlotSet(service, updated),
    failedSlots: formatSlotSet(service, failed),
  };
  if (isHeld(update)) return seen;
  if (failed.size > toleratedFailures(service, wanted.length)) return afterFailure(seen, observed, failures);
  const isThrough = wanted.every(({ slot }, index) => {
    const place = places[index];
    const isPassed =
      updated.has(slot) || failed.has(slot) || (place !== undefined && hasPassed(place, update, observed));
    return isPassed && !(place && hasOld(place, hash));
  });
  if (!isThrough) return seen;
  return { ...seen, phase: update.phase === 'Updating' ? 'Completed' : 'RolledBack', updatedSlots: '' };
}

// Something of another revision is still there, and be it on its way out.
const hasOld = ({ outdated, deleting }: Slot, hash: string): boolean =>
  outdated.length > 0 || deleting.some((child) => !isOfRevision(child, hash) && !isUnreachable(child));

const hasPassed = (place: Slot, update: Update, { service, now }: UpdateObserved): boolean =>
  place.current.some((child) => isAvailable(child, gateSeconds(service, update), now));

// What is remembered of the wanted slots, and what is new.
function observeSlots(
  update: Update,
  observed: UpdateObserved,
  { slots, hash }: { slots: ReadonlyMap<string, Slot>; hash: string },
): { updated: Set<string>; failed: Set<string>; failures: string[] } {
  const { service, wanted } = observed;
  const [wasUpdated, hadFailed] = [update.updatedSlots, update.failedSlots].map((text) => parseSlotSet(service, text));
  const updated = new Set<string>();
  const failed = new Set<string>();
  const failures: string[] = [];
  const since = Date.parse(update.startedAt);
  for (const { slot } of wanted) {
    const place = slots.get(slot);
    const newcomers = [
      ...(place?.current ?? []),
      ...(place?.failed ?? []).filter((child) => isOfRevision(child, hash)),
    ];
    const failure = newcomers.map((child) => failureOf(child, since)).find((text) => text !== undefined);
    if (hadFailed?.has(slot)) {
      failed.add(slot);
      if (failure !== undefined) failures.push(failure);
    } else if (wasUpdated?.has(slot) || (place && hasPassed(place, update, observed))) updated.add(slot);
    else if (failure !== undefined && !isFirst(update)) {
      failed.add(slot);
      failures.push(failure);
    }
  }
  return { updated, failed, failures };
}

const MAX_FAILURES_SHOWN = 3;

function afterFailure(update: Update, { service, history, now }: UpdateObserved, failures: readonly string[]): Update {
  const more = failures.length - MAX_FAILURES_SHOWN;
  // One that failed may run again by now.
  const shown = failures.length === 0 ? [`slot ${update.failedSlots}`] : failures;
  const what = `${shown.slice(0, MAX_FAILURES_SHOWN).join('; ')}${more > 0 ? `; and ${more} more` : ''} failed`;
  if (update.phase === 'RollingBack') {
    return { ...update, phase: 'RollbackPaused', message: `${update.message}; then ${what}` };
  }
  if (strategyOf(service).failureAction === 'Pause') return { ...update, phase: 'Paused', message: what };
  const { revision, fromRevision } = update;
  if (fromRevision === revision || !findRevision(history, fromRevision)) {
    return { ...update, phase: 'Paused', message: `${what}; there is no other revision to go back to` };
  }
  return {
    ...update,
    phase: 'RollingBack',
    revision: fromRevision,
    startedAt: rfc3339(now),
    updatedSlots: '',
    failedSlots: '',
    message: `revision ${revision}: ${what}`,
  };
}

function unknownRevision(rollbackTo: number | undefined, history: readonly Revision[]): string {
  const known = history.map(({ revision }) => revision).join(', ');
  return `spec.rollbackTo: there is no revision ${rollbackTo ?? ''}, only ${known}`;
}

function lastOf(history: readonly Revision[]): Revision {
  const last = history.at(-1);
  if (!last) throw new Error('the history has not even the present template');
  return last;
}
