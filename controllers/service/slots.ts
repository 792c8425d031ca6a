// What a Service has, slot by slot. A slot is the numbered place of one replica; its Container may change, the slot stays.
import type { Container } from '../../crds/container.ts';
import { findCondition } from '../runtime/conditions.ts';
import { isDeleting } from '../runtime/object-key.ts';

export const SERVICE_LABEL = 'windlass.dev/service';
export const SLOT_LABEL = 'windlass.dev/slot';
export const REVISION_LABEL = 'windlass.dev/revision';
/** How often in a row the Container of the slot failed for good and was created anew. */
export const HEALED_ANNOTATION = 'windlass.dev/healed';

export interface Slot {
  readonly slot: number;
  /** Live Containers, oldest first: of the wanted revision, and of others. */
  readonly current: readonly Container[];
  readonly outdated: readonly Container[];
  /** Over for good; its slot has to be filled again. */
  readonly failed: readonly Container[];
  readonly deleting: readonly Container[];
}

/** The Containers of a Service by slot. Those without a slot number are left out. */
export function groupBySlot(children: readonly Container[], revision: string): Map<number, Slot> {
  const slots = new Map<number, Slot>();
  const sorted = children.toSorted(
    (a, b) => age(a).localeCompare(age(b)) || a.metadata.name.localeCompare(b.metadata.name),
  );
  for (const child of sorted) {
    const slot = slotOf(child);
    if (slot === undefined) continue;
    const entry = slots.get(slot) ?? { slot, current: [], outdated: [], failed: [], deleting: [] };
    const group = groupOf(child, revision);
    slots.set(slot, { ...entry, [group]: [...entry[group], child] });
  }
  return slots;
}

const age = (container: Container): string => container.metadata.creationTimestamp ?? '';

function groupOf(child: Container, revision: string): 'current' | 'outdated' | 'failed' | 'deleting' {
  if (isDeleting(child)) return 'deleting';
  if (isOver(child)) return 'failed';
  return child.metadata.labels?.[REVISION_LABEL] === revision ? 'current' : 'outdated';
}

/** The slot of a child; undefined when the label is no positive number. */
export function slotOf(child: Container): number | undefined {
  const slot = Number(child.metadata.labels?.[SLOT_LABEL]);
  return Number.isSafeInteger(slot) && slot > 0 ? slot : undefined;
}

/** Ended although it should run, and its restart policy does not start it again. A clean end under OnFailure is no failure. */
function isOver(child: Container): boolean {
  if (child.spec.desiredState !== 'Running') return false;
  const phase = child.status?.phase;
  return phase === 'Failed' || (phase === 'Succeeded' && child.spec.restartPolicy === 'Always');
}

export function isReady(child: Container): boolean {
  return !isDeleting(child) && findCondition(child, 'Ready')?.status === 'True';
}

/** When the child became Ready, in ms; undefined when it is not. */
export function readySinceMs(child: Container): number | undefined {
  const ready = findCondition(child, 'Ready');
  return ready?.status === 'True' && !isDeleting(child) ? Date.parse(ready.lastTransitionTime) : undefined;
}

/** Ready for at least `minReadySeconds`. */
export function isAvailable(child: Container, minReadySeconds: number, now: number): boolean {
  const since = readySinceMs(child);
  return since !== undefined && (minReadySeconds === 0 || now - since >= minReadySeconds * 1000);
}
