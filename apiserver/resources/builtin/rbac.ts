// Role, ClusterRole and the bindings that give them to users. https://kubernetes.io/docs/reference/access-authn-authz/rbac/
import { isDeepStrictEqual } from 'node:util';
import { RBAC_GROUP, type PolicyRule, type RoleBindingObject, type RoleObject } from '../../../crds/rbac.ts';
import type { GrantCheck } from '../../rbac/escalation.ts';
import type { FieldError } from '../../schema/field-error.ts';
import { validateLabelSelector } from '../../schema/label-selector.ts';
import type { Resource, StoredObject } from '../resource.ts';
import { defineBuiltin } from './define.ts';
import { schemaOf } from './schemas.ts';

const SUBJECT_KINDS = ['ServiceAccount', 'User', 'Group'];

/** The four resources; what a writer may hand on is asked of `grants`, which throws Forbidden. */
export function rbacResources(grants: GrantCheck): Resource[] {
  return [
    roleResource('Role', true, grants),
    roleResource('ClusterRole', false, grants),
    bindingResource('RoleBinding', true, grants),
    bindingResource('ClusterRoleBinding', false, grants),
  ];
}

function roleResource(kind: string, namespaced: boolean, grants: GrantCheck): Resource {
  return defineBuiltin({
    ...{ group: RBAC_GROUP, version: 'v1', kind, plural: `${kind.toLowerCase()}s`, namespaced },
    schema: schemaOf(RBAC_GROUP, kind),
    validate(object, old, { user }) {
      const role = object as unknown as RoleObject;
      const errors = (role.rules ?? []).flatMap((rule, index) => validateRule(rule, `rules[${index}]`, namespaced));
      if (role.aggregationRule) errors.push(...validateAggregation(role.aggregationRule));
      if (errors.length === 0) grants.checkRole(user, role, old as unknown as RoleObject | undefined);
      return errors;
    },
  });
}

function bindingResource(kind: string, namespaced: boolean, grants: GrantCheck): Resource {
  return defineBuiltin({
    ...{ group: RBAC_GROUP, version: 'v1', kind, plural: `${kind.toLowerCase()}s`, namespaced },
    schema: schemaOf(RBAC_GROUP, kind),
    prepareForCreate: fillGroups,
    prepareForUpdate: fillGroups,
    validate(object, old, { user }) {
      const binding = object as unknown as RoleBindingObject;
      const before = old as unknown as RoleBindingObject | undefined;
      const errors = [...validateRoleRef(binding, before, namespaced), ...validateSubjects(binding)];
      if (errors.length === 0) grants.checkBinding(user, binding, before);
      return errors;
    },
  });
}

/** A user and a group are of the group of roles, a service account of the core group, unless somebody says otherwise. */
function fillGroups(object: StoredObject): void {
  const { roleRef, subjects } = object as unknown as Partial<RoleBindingObject>;
  if (roleRef) roleRef.apiGroup ||= RBAC_GROUP;
  for (const subject of subjects ?? []) {
    if (subject.apiGroup) continue;
    if (subject.kind === 'ServiceAccount') delete subject.apiGroup;
    else subject.apiGroup = RBAC_GROUP;
  }
}

const required = (field: string, detail: string): FieldError => ({ type: 'FieldValueRequired', field, detail });

function validateRule(rule: PolicyRule, field: string, namespaced: boolean): FieldError[] {
  const { verbs, apiGroups, resources, resourceNames, nonResourceURLs } = rule;
  const errors: FieldError[] = [];
  if (verbs.length === 0) errors.push(required(`${field}.verbs`, 'verbs must contain at least one value'));
  if (nonResourceURLs?.length) {
    const refuse = (detail: string): void =>
      void errors.push({
        type: 'FieldValueInvalid',
        field: `${field}.nonResourceURLs`,
        value: nonResourceURLs,
        detail,
      });
    if (namespaced) refuse('namespaced rules cannot apply to non-resource URLs');
    if (apiGroups?.length || resources?.length || resourceNames?.length) {
      refuse('rules cannot apply to both regular resources and non-resource URLs');
    }
    return errors;
  }
  if (!apiGroups?.length) {
    errors.push(required(`${field}.apiGroups`, 'resource rules must supply at least one api group'));
  }
  if (!resources?.length) {
    errors.push(required(`${field}.resources`, 'resource rules must supply at least one resource'));
  }
  return errors;
}

function validateAggregation({ clusterRoleSelectors }: NonNullable<RoleObject['aggregationRule']>): FieldError[] {
  const field = 'aggregationRule.clusterRoleSelectors';
  if (!clusterRoleSelectors?.length) {
    return [required(field, 'at least one clusterRoleSelector required if aggregationRule is non-nil')];
  }
  return clusterRoleSelectors.flatMap((selector, index) => validateLabelSelector(`${field}[${index}]`, selector));
}

function validateRoleRef(
  { roleRef }: RoleBindingObject,
  old: RoleBindingObject | undefined,
  namespaced: boolean,
): FieldError[] {
  if (old && !isDeepStrictEqual(old.roleRef, roleRef)) {
    return [{ type: 'FieldValueInvalid', field: 'roleRef', value: roleRef, detail: 'cannot change roleRef' }];
  }
  const kinds = namespaced ? ['Role', 'ClusterRole'] : ['ClusterRole'];
  const errors = [
    ...oneOf('roleRef.apiGroup', roleRef.apiGroup, [RBAC_GROUP]),
    ...oneOf('roleRef.kind', roleRef.kind, kinds),
  ];
  if (roleRef.name === '') errors.push(required('roleRef.name', ''));
  return errors;
}

function validateSubjects({ subjects }: RoleBindingObject): FieldError[] {
  return (subjects ?? []).flatMap(({ kind, name, namespace, apiGroup }, index) => {
    const field = `subjects[${index}]`;
    const isAccount = kind === 'ServiceAccount';
    const errors = [
      ...oneOf(`${field}.kind`, kind, SUBJECT_KINDS),
      ...oneOf(`${field}.apiGroup`, apiGroup ?? '', [isAccount ? '' : RBAC_GROUP]),
    ];
    if (name === '') errors.push(required(`${field}.name`, ''));
    if (isAccount && !namespace) errors.push(required(`${field}.namespace`, ''));
    return errors;
  });
}

function oneOf(field: string, value: string | undefined, supported: readonly string[]): FieldError[] {
  if (supported.includes(value ?? '')) return [];
  const detail = `supported values: ${supported.map((one) => JSON.stringify(one)).join(', ')}`;
  return [{ type: 'FieldValueNotSupported', field, value, detail }];
}
