// Nobody hands on, or gives themself, rights that they do not have, unless a role lets them `escalate` or `bind`.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
import { isDeepStrictEqual } from 'node:util';
import { RBAC_GROUP, type PolicyRule, type RoleBindingObject, type RoleObject } from '../../crds/rbac.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { Attributes } from '../auth/authorize.ts';
import type { Authorize } from '../auth/authorizer.ts';
import type { User } from '../auth/user.ts';
import type { Roles } from './roles.ts';
import { notCovered } from './rules.ts';

export interface GrantCheck {
  /** Throws Forbidden unless `user` may write a role with these rules. */
  checkRole(user: User, role: RoleObject, old: RoleObject | undefined): void;
  /** Throws Forbidden unless `user` may give to others what this binding gives. */
  checkBinding(user: User, binding: RoleBindingObject, old: RoleBindingObject | undefined): void;
}

/** Checks against the rights that the writer has where the role or binding counts. */
export function createGrantCheck(roles: Pick<Roles, 'grantsOf' | 'rulesOf'>, authorize: Authorize): GrantCheck {
  const mayAnyway = (user: User, verb: string, resource: string, namespace: string, name: string): boolean => {
    const attributes: Attributes = {
      ...{ verb, group: RBAC_GROUP, version: 'v1', resource, subresource: '' },
      ...{ namespace, name },
    };
    return authorize(user, attributes).allowed;
  };
  const checkRules = (user: User, namespace: string, rules: readonly PolicyRule[], what: string): void => {
    const held = roles.grantsOf(user, namespace).grants.flatMap((grant) => grant.rules);
    const missing = notCovered(held, rules);
    if (missing.length === 0) return;
    throw new WindlassError(
      'Forbidden',
      `${what} is forbidden: user ${JSON.stringify(user.name)} (groups=${JSON.stringify(user.groups)}) is attempting to grant ` +
        `RBAC permissions not currently held:\n${missing.map(describeRule).join('\n')}`,
    );
  };
  return {
    checkRole(user, role, old) {
      const { name, namespace = '' } = role.metadata;
      const plural = namespace === '' ? 'clusterroles' : 'roles';
      const rules = role.rules ?? [];
      const isSame = old !== undefined && isDeepStrictEqual(old.rules ?? [], rules);
      const isAggregate = role.aggregationRule !== undefined && role.aggregationRule !== null;
      if (isSame && isDeepStrictEqual(old.aggregationRule, role.aggregationRule)) return;
      if (mayAnyway(user, 'escalate', plural, namespace, name)) return;
      // What will be in it is not known yet.
      const wanted = isAggregate ? [...rules, EVERYTHING, EVERY_PATH] : rules;
      checkRules(user, namespace, wanted, `${plural}.${RBAC_GROUP} ${JSON.stringify(name)}`);
    },
    checkBinding(user, binding, old) {
      const { name, namespace = '' } = binding.metadata;
      const { roleRef } = binding;
      const isRole = roleRef.kind === 'Role';
      if (old && isDeepStrictEqual(old.subjects ?? [], binding.subjects ?? [])) return;
      if (mayAnyway(user, 'bind', isRole ? 'roles' : 'clusterroles', namespace, roleRef.name)) return;
      const plural = namespace === '' ? 'clusterrolebindings' : 'rolebindings';
      const rules = roles.rulesOf(isRole ? namespace : '', roleRef.name);
      if (!rules) {
        const message = `${isRole ? 'roles' : 'clusterroles'}.${RBAC_GROUP} ${JSON.stringify(roleRef.name)} not found`;
        throw new WindlassError('NotFound', message, {
          details: { name: roleRef.name, group: RBAC_GROUP, kind: isRole ? 'roles' : 'clusterroles' },
        });
      }
      checkRules(user, namespace, rules, `${plural}.${RBAC_GROUP} ${JSON.stringify(name)}`);
    },
  };
}

const EVERYTHING: PolicyRule = { verbs: ['*'], apiGroups: ['*'], resources: ['*'] };
const EVERY_PATH: PolicyRule = { verbs: ['*'], nonResourceURLs: ['*'] };

/** As upstream prints a rule: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`. */
function describeRule({ verbs, apiGroups, resources, resourceNames, nonResourceURLs }: PolicyRule): string {
  const parts = Object.entries({
    ...(nonResourceURLs ? { NonResourceURLs: nonResourceURLs } : {}),
    ...(apiGroups ? { APIGroups: apiGroups } : {}),
    ...(resources ? { Resources: resources } : {}),
    ...(resourceNames ? { ResourceNames: resourceNames } : {}),
    Verbs: verbs,
  });
  return `{${parts.map(([key, list]) => `${key}:${JSON.stringify(list)}`).join(', ')}}`;
}
