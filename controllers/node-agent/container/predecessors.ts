// What must be off this host before a Container starts: it may have been given away while the node was cut off, and a
// successor of the same slot may come back to the same node, to the same name or not, and to the same volumes.
import type { Container } from '../../../crds/container.ts';
import type { WatchedKind } from '../../runtime/controller.ts';
import { controllerOf, joinKey } from '../../runtime/object-key.ts';
import { SLOT_LABEL } from '../../service/slots.ts';
import { volumeNamesOf } from '../../volume/plan.ts';
import type { SandboxState } from '../runtime/node-runtime.ts';
import type { RuntimeCache } from '../runtime/runtime-cache.ts';
import { MANAGED_LABEL } from './annotations.ts';

/** How long a Container without volumes on the host is remembered: longer than a start that was under way can take. */
const KEEP_MS = 120_000;

export interface Predecessors {
  /**
   * Sandboxes of an earlier Container of that name, or of one that is gone and has its slot or mounts a volume of its. Of
   * one that went while the agent was away that is not known: what still runs may use any volume.
   */
  of(container: Container): SandboxState[];
  /** A Container of this node whose object is gone, as it was last. */
  gone(uid: string): Container | undefined;
}

/**
 * Follows `containers` from now on. `onGone` is called when a Container of this node is gone from the API although its
 * sandbox is still here: by force, or because the node counted as dead.
 */
export function createPredecessors(deps: {
  readonly containers: WatchedKind<Container>;
  readonly cache: Pick<RuntimeCache, 'viewOf' | 'sandboxes'>;
  readonly nodeName: string;
  /** Of the Containers that are bound to this node. */
  readonly ownUids: () => ReadonlySet<string>;
  readonly now: () => number;
  readonly onGone: () => void;
}): Predecessors {
  const { cache, nodeName, now } = deps;
  const gone = new Map<string, { readonly container: Container; readonly atMs: number }>();
  /** Their UIDs by what they held. */
  const holders = new Map<string, Set<string>>();
  const forget = (uid: string): void => {
    const last = gone.get(uid);
    gone.delete(uid);
    for (const held of last ? heldBy(last.container) : []) {
      const uids = holders.get(held);
      uids?.delete(uid);
      if (uids?.size === 0) holders.delete(held);
    }
  };
  const isHere = (uid: string): boolean => cache.viewOf(uid).sandboxes.length > 0;
  const note = (container: Container): void => {
    for (const [uid, { atMs }] of gone) {
      if (now() - atMs < KEEP_MS) break;
      if (!isHere(uid)) forget(uid);
    }
    const { uid = '' } = container.metadata;
    forget(uid);
    gone.set(uid, { container, atMs: now() });
    for (const held of heldBy(container)) holders.set(held, (holders.get(held) ?? new Set()).add(uid));
    if (isHere(uid)) deps.onGone();
  };
  const runningUnknown = (sandboxes: readonly SandboxState[]): SandboxState[] => {
    const own = deps.ownUids();
    const isRunning = (uid: string): boolean => cache.viewOf(uid).containers.some(({ state }) => state === 'Running');
    return sandboxes.filter(({ uid }) => !own.has(uid) && !gone.has(uid) && isRunning(uid));
  };
  deps.containers.subscribe(({ object, previous, deleted }) => {
    // After a break the watch may show the successor alone: of the same name, with another UID.
    const last = deleted ? object : previous?.metadata.uid === object.metadata.uid ? undefined : previous;
    if (last?.spec.nodeName === nodeName) note(last);
  });
  return {
    of(container) {
      const { uid = '', name, namespace } = container.metadata;
      const earlier = new Set(heldBy(container).flatMap((held) => [...(holders.get(held) ?? [])]));
      earlier.delete(uid);
      const sharing = [...earlier].flatMap((one) => cache.viewOf(one).sandboxes);
      const others = cache
        .sandboxes()
        .filter((sandbox) => sandbox.uid !== uid && sandbox.labels[MANAGED_LABEL] === 'true');
      const namesakes = others.filter((sandbox) => sandbox.name === name && sandbox.namespace === namespace);
      const unknown = volumeNamesOf(container).length > 0 ? runningUnknown(others) : [];
      return [...new Set([...namesakes, ...sharing, ...unknown])];
    },
    gone: (uid) => gone.get(uid)?.container,
  };
}

/** What one Container at a time has: its volumes, and its slot of a Service. */
function heldBy(container: Container): string[] {
  const { namespace, labels } = container.metadata;
  const slot = labels?.[SLOT_LABEL];
  const owner = controllerOf(container);
  return [
    ...volumeNamesOf(container).map((name) => `volume ${joinKey(namespace, name)}`),
    ...(slot !== undefined && owner ? [`slot ${owner.uid} ${slot}`] : []),
  ];
}
