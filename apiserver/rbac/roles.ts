// The roles and bindings of the store in memory, and what they allow: a right is a question to each request, which must not
// wait for the store. https://kubernetes.io/docs/reference/access-authn-authz/rbac/
import { setTimeout as sleep } from 'node:timers/promises';
import { RBAC_GROUP, type PolicyRule, type RoleBindingObject, type RoleObject, type Subject } from '../../crds/rbac.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { Attributes, Decision } from '../auth/authorize.ts';
import type { User } from '../auth/user.ts';
import { objectKey } from '../storage/entry.ts';
import type { ResourceStore } from '../storage/resource-store.ts';
import { ruleAllows } from './rules.ts';

const RETRY_MS = 500;
const PLURALS = ['roles', 'clusterroles', 'rolebindings', 'clusterrolebindings'] as const;
type Plural = (typeof PLURALS)[number];

/** What a user has by one binding. */
export interface Grant {
  readonly rules: readonly PolicyRule[];
  /** In words: `RoleBinding "b/shop" of ClusterRole "edit" to User "bob"`. */
  readonly by: string;
}

export interface Roles {
  /** Whether all that was stored at start is known. */
  isLoaded(): boolean;
  decide(user: User, attributes: Attributes): Decision;
  /** What `user` has in a namespace, '' for the cluster scope, and what is wrong with its bindings. */
  grantsOf(user: User, namespace: string): { readonly grants: readonly Grant[]; readonly errors: readonly string[] };
  /** The rules of a role; undefined = there is none of that name. `namespace` is '' for ClusterRoles. */
  rulesOf(namespace: string, name: string): readonly PolicyRule[] | undefined;
  /** Every ClusterRole. */
  clusterRoles(): readonly RoleObject[];
  /** Calls back after each change of a ClusterRole; returns how to stop. */
  onClusterRoles(listener: () => void): () => void;
  run(signal: AbortSignal): Promise<void>;
}

/** Knows nothing, and so allows nothing, before run(). */
export function createRoles({ store, log }: { readonly store: ResourceStore; readonly log: Logger }): Roles {
  const objects = {} as Record<Plural, Map<string, RoleObject | RoleBindingObject>>;
  for (const plural of PLURALS) objects[plural] = new Map();
  const loaded = new Set<Plural>();
  const listeners = new Set<() => void>();

  const rulesOf = (namespace: string, name: string): readonly PolicyRule[] | undefined => {
    const roles = namespace === '' ? objects.clusterroles : objects.roles;
    const role = roles.get(objectKey(namespace, name)) as RoleObject | undefined;
    return role && (role.rules ?? []);
  };

  const grantsOf: Roles['grantsOf'] = (user, namespace) => {
    const grants: Grant[] = [];
    const errors: string[] = [];
    const look = (binding: RoleBindingObject): void => {
      const { roleRef, subjects, metadata } = binding;
      const within = metadata.namespace ?? '';
      const subject = subjects?.find((one) => isSubject(one, user, within));
      if (!subject) return;
      const rules = rulesOf(roleRef.kind === 'Role' ? within : '', roleRef.name);
      if (!rules) errors.push(`${roleRef.kind.toLowerCase()}.${RBAC_GROUP} "${roleRef.name}" not found`);
      else grants.push({ rules, by: describeBinding(binding, subject) });
    };
    for (const binding of objects.clusterrolebindings.values()) look(binding as RoleBindingObject);
    for (const binding of namespace === '' ? [] : objects.rolebindings.values()) {
      if (binding.metadata.namespace === namespace) look(binding as RoleBindingObject);
    }
    return { grants, errors };
  };

  async function follow(plural: Plural, signal: AbortSignal): Promise<void> {
    const collection = { group: RBAC_GROUP, plural };
    const { entries, revision } = await store.list(collection, { revision: 0, signal });
    const known = objects[plural];
    known.clear();
    for (const { namespace, name, object } of entries) {
      known.set(objectKey(namespace, name), object as unknown as RoleObject | RoleBindingObject);
    }
    const tell = (): void => {
      if (plural === 'clusterroles') for (const listener of listeners) listener();
    };
    loaded.add(plural);
    tell();
    for await (const { events } of store.watch(collection, { revision }, signal)) {
      for (const { type, entry } of events) {
        const key = objectKey(entry.namespace, entry.name);
        if (type === 'DELETED') known.delete(key);
        else known.set(key, entry.object as unknown as RoleObject | RoleBindingObject);
      }
      tell();
    }
  }

  async function keepFollowing(plural: Plural, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await follow(plural, signal);
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ err: messageOf(error), plural }, 'failed to follow the rules of access');
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  return {
    isLoaded: () => loaded.size === PLURALS.length,
    grantsOf,
    rulesOf,
    clusterRoles: () => [...objects.clusterroles.values()] as RoleObject[],
    onClusterRoles(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    decide(user, attributes) {
      const { grants, errors } = grantsOf(user, attributes.path === undefined ? attributes.namespace : '');
      const grant = grants.find(({ rules }) => rules.some((rule) => ruleAllows(rule, attributes)));
      if (grant) return { allowed: true, reason: `RBAC: allowed by ${grant.by}` };
      return { allowed: false, reason: errors.length === 0 ? '' : `RBAC: ${errors.join(', ')}` };
    },
    async run(signal) {
      await store.whenReady(signal).catch(() => undefined);
      await Promise.all(PLURALS.map((plural) => keepFollowing(plural, signal)));
    },
  };
}

function isSubject({ kind, name, namespace }: Subject, user: User, within: string): boolean {
  switch (kind) {
    case 'User':
      return user.name === name;
    case 'Group':
      return user.groups.includes(name);
    case 'ServiceAccount':
      return user.name === `system:serviceaccount:${namespace ?? within}:${name}`;
  }
}

function describeBinding({ metadata, roleRef }: RoleBindingObject, subject: Subject): string {
  const where = metadata.namespace ? `/${metadata.namespace}` : '';
  const kind = metadata.namespace ? 'RoleBinding' : 'ClusterRoleBinding';
  return `${kind} "${metadata.name}${where}" of ${roleRef.kind} "${roleRef.name}" to ${subject.kind} "${subject.name}"`;
}
