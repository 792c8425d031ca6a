// Decides which node fetches an Image and holds its deletion back while a Container names it.
import type { KindClient } from '../../client/client.ts';
import { archiveName, type Archive } from '../../crds/archive.ts';
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { PULL_NODE_ANNOTATION, type Image } from '../../crds/image.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Cache, Index } from '../runtime/cache.ts';
import { findCondition, setConditions, type NewCondition } from '../runtime/conditions.ts';
import type { Events } from '../runtime/events.ts';
import { hasFinalizer, IN_USE_FINALIZER, isDeleting, joinKey } from '../runtime/object-key.ts';
import type { Reconcile } from '../runtime/reconciler.ts';
import { removeFinalizer, writeStatus } from '../runtime/write.ts';
import { listNames } from '../volume/plan.ts';
import {
  planImage,
  planImageConditions,
  planPrepull,
  releasingNodes,
  RELEASING_REASON,
  TAKEN_CONDITION,
  usesMeaning,
} from './plan.ts';

export interface ImageDeps {
  readonly client: KindClient<Image>;
  readonly images: Cache<Image>;
  readonly nodes: Cache<Node>;
  /** Containers by imageUseOf(). */
  readonly usersOf: Index<Container>;
  readonly archives: Cache<Archive>;
  /** Images by usesMeaning(). */
  readonly meantBy: Index<Image>;
  /** Images by the node that fetches them. */
  readonly imagesOf: Index<Image>;
  readonly events: Events;
  readonly clock: Clock;
}

/** Keeps one Image's assignment, and the conditions that are about the object. */
export function createImageReconciler(deps: ImageDeps): Reconcile {
  const { client, clock, events } = deps;

  async function say(image: Image, conditions: readonly NewCondition[], signal: AbortSignal): Promise<void> {
    const { generation } = image.metadata;
    const status = {
      conditions: setConditions(image.status?.conditions, conditions, { now: clock.now(), generation }).filter(
        ({ type }) =>
          (type !== 'Prepulled' || image.spec.prepull) &&
          (type !== TAKEN_CONDITION || conditions.some((one) => one.type === TAKEN_CONDITION)),
      ),
    };
    const wrote = await writeStatus(client, image, status, signal);
    const problem = conditions.find(
      ({ type, status: value, reason }) => type === 'Ready' && value === 'False' && reason !== RELEASING_REASON,
    );
    const taken = conditions.find(({ type }) => type === TAKEN_CONDITION);
    if (wrote && taken && findCondition(image, TAKEN_CONDITION)?.message !== taken.message)
      events.record(image, { type: 'Warning', reason: taken.reason, message: taken.message });
    if (wrote && problem) events.record(image, { type: 'Warning', reason: problem.reason, message: problem.message });
  }

  async function assign(image: Image, nodeName: string, signal: AbortSignal): Promise<void> {
    const { name, namespace, resourceVersion, finalizers = [] } = image.metadata;
    const withFinalizer = hasFinalizer(image, IN_USE_FINALIZER) ? finalizers : [...finalizers, IN_USE_FINALIZER];
    const metadata = { resourceVersion, finalizers: withFinalizer, annotations: { [PULL_NODE_ANNOTATION]: nodeName } };
    await client.mergePatch(name, namespace, { metadata }, {}, signal);
    events.record(image, {
      type: 'Normal',
      reason: 'Assigned',
      message: `node ${nodeName} ${image.spec.build ? 'builds' : 'fetches'} it`,
    });
  }

  return async (key, { signal }) => {
    const image = deps.images.get(key);
    if (!image) return {};
    const uses = usesMeaning(image);
    const users = uses.flatMap((use) => deps.usersOf.get(use));
    if (isDeleting(image)) {
      if (users.length === 0) {
        const nodes = releasingNodes(image, deps.nodes.list());
        if (nodes.length > 0) {
          const message = `what nothing else uses of it is removed from node(s) ${listNames(nodes)}`;
          await say(image, [{ type: 'Ready', status: 'False', reason: RELEASING_REASON, message }], signal);
          return {};
        }
        await removeFinalizer(client, image, IN_USE_FINALIZER, signal);
        return {};
      }
      const names = users.map(({ metadata }) => metadata.name).toSorted();
      const message = `will be deleted when ${listNames(names)} no longer use(s) it`;
      await say(image, [{ type: 'Ready', status: 'False', reason: 'DeletionBlocked', message }], signal);
      return {};
    }
    const plan = planImage({
      image,
      nodes: deps.nodes.list(),
      loadOf: (nodeName) => deps.imagesOf.get(nodeName).length,
      holdersOf: (digest) => deps.archives.get(joinKey(image.metadata.namespace, archiveName(digest)))?.nodes ?? [],
    });
    if (plan.kind === 'assign') {
      await assign(image, plan.nodeName, signal);
      return {};
    }
    const claimers = uses.flatMap((use) => deps.meantBy.get(use));
    const conditions = [...planImageConditions(image, users, claimers), ...planPrepull(image, deps.nodes.list())];
    const refusal: NewCondition[] =
      plan.kind === 'keep' ? [] : [{ type: 'Ready', status: 'False', reason: plan.reason, message: plan.message }];
    await say(image, [...refusal, ...conditions], signal);
    return {};
  };
}
