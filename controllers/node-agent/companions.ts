// The Containers of other nodes that those of this node name: in dependsOn, volumesFrom and shareNamespaces. The agent
// watches no others, so each of these has a watch of its own for as long as it is named; and so has what it names itself,
// by which circles are found.
import type { ApiClient } from '../../client/client.ts';
import { createInformer, type Change, type Informer } from '../../client/informer.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { joinKey, keyOf } from '../runtime/object-key.ts';
import { SERVICE_LABEL } from './networks/service-tables.ts';

export interface Companions extends RunPart {
  get(key: string): Container | undefined;
  list(namespace?: string): Container[];
  subscribe(handler: (change: Change<Container>) => void): () => void;
  /** Resolves once all that `container` names has been looked up. */
  known(container: Container, signal: AbortSignal): Promise<void>;
  /** As of an informer. */
  reconnect(openedBeforeMs: number): void;
}

/** What is named: one Container, or those of a Service. */
interface Reference {
  readonly key: string;
  readonly kind: 'Container' | 'Service';
  readonly namespace: string;
  readonly name: string;
}

interface Followed {
  readonly reference: Reference;
  readonly informer: Informer<Container>;
  readonly stop: AbortController;
}

/** Follows what the Containers in `own`, all of them of node `nodeName`, name. Watches are opened by run(). */
export function createCompanions(deps: {
  readonly client: ApiClient;
  readonly own: Pick<Informer<Container>, 'get' | 'list' | 'subscribe'>;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly log: Logger;
}): Companions {
  const { own, nodeName } = deps;
  const followed = new Map<string, Followed>();
  const handlers = new Set<(change: Change<Container>) => void>();
  let running: AbortSignal | undefined;
  const isElsewhere = ({ spec }: Container): boolean => spec.nodeName !== nodeName;

  const open = (one: Followed): void => {
    if (!running || running.aborted) return;
    // An informer ends with its signal and in no other way.
    void one.informer.run(AbortSignal.any([running, one.stop.signal]));
  };
  const follow = (reference: Reference): void => {
    const { kind, namespace, name } = reference;
    const selector =
      kind === 'Container' ? { fieldSelector: `metadata.name=${name}` } : { labelSelector: `${SERVICE_LABEL}=${name}` };
    const informer = createInformer(deps.client.kind<Container>(containerKind), {
      ...{ namespace, clock: deps.clock, log: deps.log },
      ...selector,
    });
    const one = { reference, informer, stop: new AbortController() };
    followed.set(reference.key, one);
    informer.subscribe((change) => {
      if (isElsewhere(change.object)) for (const handler of handlers) handler(change);
      settle();
    });
    open(one);
  };
  /** Follows all that is named, directly or by what is followed, and nothing else. */
  const settle = (): void => {
    const wanted = new Map<string, Reference>();
    const visit = (container: Container): void => {
      for (const reference of referencesOf(container)) {
        if (wanted.has(reference.key)) continue;
        wanted.set(reference.key, reference);
        const found = followed.get(reference.key)?.informer.list() ?? [];
        for (const next of found) visit(next);
      }
    };
    for (const container of own.list()) visit(container);
    for (const [key, one] of followed) {
      if (wanted.has(key)) continue;
      followed.delete(key);
      one.stop.abort();
    }
    for (const reference of wanted.values()) {
      const isOwn = reference.kind === 'Container' && own.get(joinKey(reference.namespace, reference.name));
      if (!isOwn && !followed.has(reference.key)) follow(reference);
    }
  };
  own.subscribe(({ object, previous, deleted }) => {
    if (deleted || !previous || namesOf(object) !== namesOf(previous)) settle();
  });

  const all = (): Container[] => [
    ...new Map(
      [...followed.values()].flatMap(({ informer }) =>
        informer
          .list()
          .filter(isElsewhere)
          .map((one) => [keyOf(one), one]),
      ),
    ).values(),
  ];
  return {
    name: 'companions',
    get(key) {
      const found = followed.get(`Container/${key}`)?.informer.get(key);
      return found && isElsewhere(found) ? found : undefined;
    },
    list: (namespace) => all().filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace),
    subscribe(handler) {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
    async known(container, signal) {
      for (;;) {
        const pending = referencesOf(container)
          .map(({ key }) => followed.get(key))
          .find((one) => one && !one.informer.hasSynced());
        if (!pending) return;
        await syncedOrStopped(pending, signal);
      }
    },
    reconnect(openedBeforeMs) {
      for (const { informer } of followed.values()) informer.reconnect(openedBeforeMs);
    },
    async run(signal) {
      running = signal;
      for (const one of followed.values()) open(one);
      if (signal.aborted) return;
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    },
  };
}

/** One that is not followed any more is never synced. */
async function syncedOrStopped({ informer, stop }: Followed, signal: AbortSignal): Promise<void> {
  try {
    await informer.synced(AbortSignal.any([signal, stop.signal]));
  } catch (error) {
    if (signal.aborted || !stop.signal.aborted) throw error;
  }
}

const namesOf = (container: Container): string =>
  referencesOf(container)
    .map(({ key }) => key)
    .join(',');

/** What `container` waits for or borrows from. */
function referencesOf({ metadata, spec }: Container): Reference[] {
  const { namespace = '' } = metadata;
  const shared = spec.shareNamespaces;
  const reference = (kind: Reference['kind'], name: string): Reference => ({
    ...{ key: `${kind}/${namespace}/${name}`, kind, namespace, name },
  });
  return [
    ...(spec.dependsOn ?? []).map(({ kind, name }) => reference(kind, name)),
    ...(spec.volumesFrom ?? []).map(({ container }) => reference('Container', container)),
    ...[shared?.network, shared?.pid, shared?.ipc]
      .filter((name) => name !== undefined)
      .map((name) => reference('Container', name)),
  ];
}
