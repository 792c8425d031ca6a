// Roles that the server writes: those of every cluster, made at start and given what they lack, and those whose rules are
// put together from others'.
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { matchesSelector } from '../../crds/label-selector.ts';
import { RBAC_GROUP, type PolicyRule, type RoleBindingObject, type RoleObject } from '../../crds/rbac.ts';
import { rfc3339, type Clock } from '../../lib/clock.ts';
import { isAlreadyExists, isConflict, isNotFound, messageOf } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { StoredObject } from '../resources/resource.ts';
import type { ResourceStore } from '../storage/resource-store.ts';
import { AUTOUPDATE_ANNOTATION, DEFAULT_BINDINGS, DEFAULT_ROLES } from './default-roles.ts';
import type { Roles } from './roles.ts';
import { notCovered } from './rules.ts';

const ROLES = { group: RBAC_GROUP, plural: 'clusterroles' } as const;
const BINDINGS = { group: RBAC_GROUP, plural: 'clusterrolebindings' } as const;
const RETRY_MS = 500;

interface Deps {
  readonly store: ResourceStore;
  readonly roles: Pick<Roles, 'clusterRoles' | 'onClusterRoles'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Keeps them until `signal` fires. */
export async function keepRoles(deps: Deps, signal: AbortSignal): Promise<void> {
  await deps.store.whenReady(signal).catch(() => undefined);
  let wake = Promise.withResolvers<void>();
  const stop = deps.roles.onClusterRoles(() => wake.resolve());
  signal.addEventListener('abort', () => wake.resolve(), { once: true });
  let hasDefaults = false;
  while (!signal.aborted) {
    try {
      if (!hasDefaults) await ensureDefaults(deps);
      hasDefaults = true;
      await aggregate(deps);
      await wake.promise;
      wake = Promise.withResolvers<void>();
      if (signal.aborted) wake.resolve();
    } catch (error) {
      if (signal.aborted) break;
      deps.log.warn({ err: messageOf(error) }, 'failed to keep the roles of the cluster');
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
  stop();
}

async function ensureDefaults(deps: Deps): Promise<void> {
  for (const role of DEFAULT_ROLES) await ensure(deps, ROLES, role, addRules);
  for (const binding of DEFAULT_BINDINGS) await ensure(deps, BINDINGS, binding, addSubjects);
}

async function ensure<T extends RoleObject | RoleBindingObject>(
  { store, clock, log }: Deps,
  collection: typeof ROLES | typeof BINDINGS,
  wanted: T,
  add: (present: T, wanted: T) => boolean,
): Promise<void> {
  const { name } = wanted.metadata;
  if (!(await store.get(collection, '', name))) {
    const metadata = { ...wanted.metadata, uid: randomUUID(), creationTimestamp: rfc3339(clock.now()) };
    try {
      await store.create(collection, { ...wanted, metadata } as unknown as StoredObject);
      log.info({ name, plural: collection.plural }, 'made a default of the rules of access');
      return;
    } catch (error) {
      // Another server made it first.
      if (!isAlreadyExists(error)) throw error;
    }
  }
  await ignoreGone(
    store.guaranteedUpdate(collection, '', name, (entry) => {
      const object = entry.clone();
      const isOurs = object.metadata.annotations?.[AUTOUPDATE_ANNOTATION] === 'true';
      if (!isOurs || !add(object as unknown as T, wanted)) return { kind: 'keep' };
      return { kind: 'put', object };
    }),
  );
}

/** Newer versions allow more in a default role; what its users added stays. */
function addRules(present: RoleObject, wanted: RoleObject): boolean {
  // What is put together from others is nobody's to add to.
  if (wanted.aggregationRule) return false;
  const missing = notCovered(present.rules ?? [], wanted.rules ?? []);
  if (missing.length > 0) present.rules = [...(present.rules ?? []), ...missing];
  return missing.length > 0;
}

function addSubjects(present: RoleBindingObject, wanted: RoleBindingObject): boolean {
  const missing = (wanted.subjects ?? []).filter(
    ({ kind, name }) => !present.subjects?.some((subject) => subject.kind === kind && subject.name === name),
  );
  if (missing.length > 0) present.subjects = [...(present.subjects ?? []), ...missing];
  return missing.length > 0;
}

/** Gives every ClusterRole with an aggregationRule the rules of those that it selects, in the order of their names. */
async function aggregate({ store, roles, log }: Deps): Promise<void> {
  for (const role of roles.clusterRoles()) {
    if (!role.aggregationRule) continue;
    const rules = aggregatedRules(role, roles.clusterRoles());
    if (isDeepStrictEqual(rules, role.rules ?? [])) continue;
    await ignoreGone(
      store.guaranteedUpdate(ROLES, '', role.metadata.name, (entry) => {
        const object = entry.clone() as unknown as RoleObject;
        if (!object.aggregationRule || isDeepStrictEqual(object.rules, rules)) return { kind: 'keep' };
        object.rules = rules;
        return { kind: 'put', object: object as unknown as StoredObject };
      }),
    );
    log.debug({ name: role.metadata.name, rules: rules.length }, 'put together the rules of a role');
  }
}

/** The rules of all that `role` selects, each once. */
export function aggregatedRules(role: RoleObject, all: readonly RoleObject[]): PolicyRule[] {
  const selectors = role.aggregationRule?.clusterRoleSelectors ?? [];
  const parts = all
    .filter(({ metadata }) => metadata.name !== role.metadata.name)
    .filter(({ metadata }) => selectors.some((selector) => matchesSelector(selector, metadata.labels)))
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const rules: PolicyRule[] = [];
  for (const rule of parts.flatMap((part) => part.rules ?? [])) {
    if (!rules.some((known) => isDeepStrictEqual(known, rule))) rules.push(rule);
  }
  return rules;
}

async function ignoreGone(update: Promise<unknown>): Promise<void> {
  try {
    await update;
  } catch (error) {
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}
