// rbac.authorization.k8s.io/v1, upstream's group and shape: who may do what.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/
import type { KubernetesObject } from './kind.ts';
import type { LabelSelector } from './label-selector.ts';

export const RBAC_GROUP = 'rbac.authorization.k8s.io';

export interface PolicyRule {
  readonly verbs: readonly string[];
  readonly apiGroups?: readonly string[] | null;
  readonly resources?: readonly string[] | null;
  /** Empty or absent = all. */
  readonly resourceNames?: readonly string[] | null;
  readonly nonResourceURLs?: readonly string[] | null;
}

export interface Subject {
  readonly kind: 'User' | 'Group' | 'ServiceAccount';
  apiGroup?: string;
  readonly name: string;
  /** Of a ServiceAccount. */
  readonly namespace?: string;
}

export interface RoleRef {
  apiGroup?: string;
  readonly kind: 'Role' | 'ClusterRole';
  readonly name: string;
}

/** Role and ClusterRole. */
export interface RoleObject extends KubernetesObject {
  rules?: readonly PolicyRule[] | null;
  /** Of a ClusterRole: its rules are those of the ClusterRoles that one of the selectors fits. */
  aggregationRule?: { readonly clusterRoleSelectors?: readonly LabelSelector[] | null } | null;
}

/** RoleBinding and ClusterRoleBinding. */
export interface RoleBindingObject extends KubernetesObject {
  subjects?: readonly Subject[] | null;
  roleRef: RoleRef;
}
