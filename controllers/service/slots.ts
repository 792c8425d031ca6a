// What a Service has, slot by slot. A slot is the place of one replica, a number or a node; its Container may change,
// the slot stays.
import type { Container } from '../../crds/container.ts';
import type { Service } from '../../crds/service.ts';
import { findCondition } from '../runtime/conditions.ts';
import { isDeleting } from '../runtime/object-key.ts';

export const SERVICE_LABEL = 'windlass.dev/service';
export const SLOT_LABEL = 'windlass.dev/slot';
export const REVISION_LABEL = 'windlass.dev/revision';
/** How often in a row the Container of the slot failed for good and was created anew. */
export const HEALED_ANNOTATION = 'windlass.dev/healed';

export interface Slot {
  readonly slot: string;
  /** Live Containers, oldest first: of the wanted revision, and of others. */
  readonly current: readonly Container[];
  readonly outdated: readonly Container[];
  /** Over for good, of any revision; the slot has to be filled again. */
  readonly failed: readonly Container[];
  readonly deleting: readonly Container[];
}

export const emptySlot = (slot: string): Slot => ({ slot, current: [], outdated: [], failed: [], deleting: [] });

/** The Containers of a Service by slot. Those that name no slot of its mode are left out. */
export function groupBySlot(service: Service, children: readonly Container[], revision: string): Map<string, Slot> {
  type Group = ReturnType<typeof groupOf>;
  const slots = new Map<string, Slot & Record<Group, Container[]>>();
  for (const child of children) {
    const slot = slotNameOf(service, child);
    if (slot === undefined) continue;
    let entry = slots.get(slot);
    if (!entry) slots.set(slot, (entry = { slot, current: [], outdated: [], failed: [], deleting: [] }));
    const group = entry[groupOf(child, revision)];
    // Nearly all have a slot of their own: there is next to nothing to sort.
    if (group.push(child) > 1) group.sort(byAge);
  }
  return slots;
}

// Looked at for each change of each Container: the order of code units will do.
function byAge({ metadata: a }: Container, { metadata: b }: Container): number {
  const [one, other] =
    a.creationTimestamp === b.creationTimestamp
      ? [a.name, b.name]
      : [a.creationTimestamp ?? '', b.creationTimestamp ?? ''];
  return one < other ? -1 : Number(one > other);
}

function groupOf(child: Container, revision: string): 'current' | 'outdated' | 'failed' | 'deleting' {
  if (isDeleting(child)) return 'deleting';
  if (isOver(child)) return 'failed';
  return isOfRevision(child, revision) ? 'current' : 'outdated';
}

/** The slot of a child as the mode of the Service names them: a number from 1, or in mode Global what stands for a node. */
export function slotNameOf(service: Service, child: Container): string | undefined {
  if (service.spec.mode === 'Global') return child.metadata.labels?.[SLOT_LABEL] || undefined;
  const slot = slotOf(child);
  return slot === undefined ? undefined : String(slot);
}

/** The slot of a child; undefined when the label is no positive number. A node may be called `1e3` or `0x1f`. */
export function slotOf(child: Container): number | undefined {
  const text = child.metadata.labels?.[SLOT_LABEL] ?? '';
  return /^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined;
}

export const isOfRevision = (child: Container, revision: string): boolean =>
  child.metadata.labels?.[REVISION_LABEL] === revision;

/** Ended although it should run, and its restart policy does not start it again. A clean end under OnFailure is no failure. */
export function isOver(child: Container): boolean {
  if (child.spec.desiredState !== 'Running') return false;
  const phase = child.status?.phase;
  return phase === 'Failed' || (phase === 'Succeeded' && child.spec.restartPolicy === 'Always');
}

export function isReady(child: Container): boolean {
  return !isDeleting(child) && findCondition(child, 'Ready')?.status === 'True';
}

const NAMES = new Intl.Collator('en', { numeric: true });
/** `web-2` before `web-10`. One collator for all: localeCompare() would make ready for each pair of names anew. */
export const byName = (a: string, b: string): number => NAMES.compare(a, b);

/** Nothing is known of it, because its node does not answer. */
export const isUnreachable = (child: Container): boolean => findCondition(child, 'Ready')?.status === 'Unknown';

/** When the child became Ready, in ms; undefined when it is not. */
export function readySinceMs(child: Container): number | undefined {
  const ready = findCondition(child, 'Ready');
  return ready?.status === 'True' && !isDeleting(child) ? Date.parse(ready.lastTransitionTime) : undefined;
}

/** Ready for at least `seconds`. */
export function isAvailable(child: Container, seconds: number, now: number): boolean {
  const since = readySinceMs(child);
  return since !== undefined && (seconds === 0 || now - since >= seconds * 1000);
}

/** When the first of `children` will have been Ready for `seconds`, from now; undefined when none is on that way. */
export function nextAvailableMs(children: readonly Container[], seconds: number, now: number): number | undefined {
  const waits = children
    .map(readySinceMs)
    .map((since) => (since === undefined ? 0 : since + seconds * 1000 - now))
    .filter((wait) => wait > 0);
  return waits.length === 0 ? undefined : Math.min(...waits);
}
