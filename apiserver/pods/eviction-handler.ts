// POST pods/{name}/eviction: what `kubectl drain` sends. The Container behind the Pod is deleted, if the disruption
// budget it falls under allows that. https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
import type { Container } from '../../crds/container.ts';
import { disruptionBudgetKind, type DisruptionBudget } from '../../crds/disruption-budget.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { isNotFound, WindlassError } from '../../lib/errors.ts';
import { checkPreconditions, markDeleted, parseDeleteOptions, type DeleteOptions } from '../admission/deletion.ts';
import type { ResourceRegistry } from '../resources/registry.ts';
import type { RequestContext, Resource, StoredObject } from '../resources/resource.ts';
import type { SubresourceHandler, SubresourceRequest } from '../resources/subresource.ts';
import { badRequest, conflict, notFound, OBJECT_MODIFIED } from '../routes/api-errors.ts';
import { decodeBody } from '../routes/body.ts';
import { mediaTypeOf, isDryRun } from '../routes/request-options.ts';
import type { Entry, ResourceStore } from '../storage/resource-store.ts';
import { judgeEviction, spendDisruption, type Verdict } from './eviction-budget.ts';

const CONTAINERS = { group: 'windlass.dev', plural: 'containers' } as const;
const PODS = { group: '', plural: 'pods' } as const;
/** How often a Container that changes while it is judged is judged anew. */
const MAX_TRIES = 10;

type Store = Pick<ResourceStore, 'get' | 'list' | 'guaranteedUpdate'>;

/** The handler. */
export function createEvictionHandler(store: Store, registry: Pick<ResourceRegistry, 'lookup'>): SubresourceHandler {
  return {
    group: '',
    version: 'v1',
    plural: 'pods',
    name: 'eviction',
    verbs: ['create'],
    async handle(request) {
      const resource = registry.lookup('windlass.dev', 'v1', 'containers');
      if (!resource) throw new WindlassError('Unavailable', 'containers.windlass.dev is not served yet');
      const eviction = parseEviction(resource, request);
      for (let tries = 1; !(await evict(store, eviction)); tries += 1) {
        if (tries === MAX_TRIES) throw conflict(PODS, request.name, OBJECT_MODIFIED);
      }
      const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 };
      return { status: 201, contentType: 'application/json', body: JSON.stringify(status) };
    },
  };
}

interface Eviction {
  readonly resource: Resource;
  readonly namespace: string;
  readonly name: string;
  readonly options: DeleteOptions;
  readonly context: RequestContext;
}

/** What the Eviction in the body, and the query beside it, ask for. */
function parseEviction(
  resource: Resource,
  { body, headers, query, namespace, name, user }: SubresourceRequest,
): Eviction {
  const { object } = decodeBody(body, mediaTypeOf(headers['content-type']));
  const { kind = 'Eviction', metadata, deleteOptions } = object as Record<string, unknown>;
  if (kind !== 'Eviction') throw badRequest('the body is not a policy/v1 Eviction');
  const evicted = (metadata as { name?: unknown } | null | undefined)?.name;
  if (evicted && evicted !== name) {
    throw badRequest(
      `the name of the object (${JSON.stringify(evicted)}) does not match the name on the URL (${name})`,
    );
  }
  const options = parseDeleteOptions((deleteOptions ?? {}) as Record<string, unknown>, query);
  const context = { user, dryRun: isDryRun(options.dryRun ?? []), now: Date.now() };
  return { resource, namespace, name, options, context };
}

/** One try; false when the Container is no longer the one that was judged. */
async function evict(store: Store, eviction: Eviction): Promise<boolean> {
  const { resource, namespace, name, options, context } = eviction;
  const entry = await store.get(CONTAINERS, namespace, name);
  if (!entry) throw notFound(PODS, name);
  checkPreconditions(resource, entry.object, options);
  const { entries } = await store.list(disruptionBudgetKind, { namespace });
  const budgets = entries.map(({ object }) => object as unknown as DisruptionBudget);
  const verdict = judgeEviction(entry.object as unknown as Container, budgets);
  if (context.dryRun) {
    if (verdict.kind === 'spend') spendDisruption(verdict.budget, entry.object.metadata, context.now);
    return true;
  }
  if (verdict.kind === 'spend' && !(await spend(store, verdict.budget, { evicted: entry, now: context.now })))
    return false;
  return remove(store, { ...eviction, entry, verdict });
}

/** False when the budget is gone. */
async function spend(
  store: Store,
  { metadata }: DisruptionBudget,
  { evicted, now }: { evicted: Entry; now: number },
): Promise<boolean> {
  try {
    await store.guaranteedUpdate(disruptionBudgetKind, evicted.namespace, metadata.name, (entry) => {
      const next = spendDisruption(entry.clone() as unknown as DisruptionBudget, evicted.object.metadata, now);
      return { kind: 'put', object: next as unknown as StoredObject };
    });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** Marks the Container; false when its verdict was for what it is no longer. */
async function remove(
  store: Store,
  {
    resource,
    namespace,
    name,
    options,
    context,
    entry: judged,
    verdict,
  }: Eviction & { entry: Entry; verdict: Verdict },
): Promise<boolean> {
  let isJudged = true;
  try {
    await store.guaranteedUpdate(CONTAINERS, namespace, name, (entry) => {
      checkPreconditions(resource, entry.object, options);
      const isSame = entry.object.metadata.uid === judged.object.metadata.uid;
      isJudged = isSame && (verdict.kind !== 'as-seen' || entry.revision === judged.revision);
      if (!isJudged) return { kind: 'keep' };
      const object = entry.clone();
      setDisruptionTarget(object, context.now);
      return markDeleted(resource, object, options, context) ? { kind: 'delete' } : { kind: 'put', object };
    });
    return isJudged;
  } catch (error) {
    throw isNotFound(error) ? notFound(PODS, name) : error;
  }
}

function setDisruptionTarget(object: StoredObject, now: number): void {
  const { status = {}, metadata } = object as unknown as Container;
  if (metadata.deletionTimestamp !== undefined) return;
  const condition = {
    type: 'DisruptionTarget',
    status: 'True' as const,
    reason: 'EvictionByEvictionAPI',
    message: 'Eviction API: evicting',
    lastTransitionTime: rfc3339(now),
  };
  const others = (status.conditions ?? []).filter(({ type }) => type !== condition.type);
  object['status'] = { ...status, conditions: [...others, condition] };
}
