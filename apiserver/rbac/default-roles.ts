// The roles that every cluster has, as upstream names them; what they allow is of the kinds of here.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles
import { RBAC_GROUP, type PolicyRule, type RoleBindingObject, type RoleObject } from '../../crds/rbac.ts';
import { MASTERS } from '../auth/authorize.ts';

export const BOOTSTRAP_LABELS = { 'kubernetes.io/bootstrapping': 'rbac-defaults' } as const;
/** `"false"` on a default role: it stays as its users made it. */
export const AUTOUPDATE_ANNOTATION = `rbac.authorization.kubernetes.io/autoupdate`;

const READ = ['get', 'list', 'watch'];
const WRITE = ['create', 'delete', 'deletecollection', 'patch', 'update'];
const OURS = ['containers', 'images', 'networks', 'services', 'volumes'];

const rule = (apiGroups: string, verbs: readonly string[], ...resources: readonly string[]): PolicyRule => ({
  apiGroups: [apiGroups],
  resources,
  verbs,
});

const VIEW: readonly PolicyRule[] = [
  rule('windlass.dev', READ, ...OURS, ...OURS.map((plural) => `${plural}/status`), 'services/scale', 'archives'),
  rule('windlass.dev', ['get'], 'images/layers', 'images/log'),
  rule('', READ, 'configmaps', 'events', 'namespaces', 'pods', 'pods/log', 'pods/status', 'serviceaccounts'),
  rule('apps', READ, 'daemonsets'),
  rule('events.k8s.io', READ, 'events'),
  rule('metrics.k8s.io', ['get', 'list'], 'pods'),
  rule('policy', READ, 'poddisruptionbudgets', 'poddisruptionbudgets/status'),
];

const EDIT: readonly PolicyRule[] = [
  rule('windlass.dev', WRITE, ...OURS, 'archives'),
  rule('windlass.dev', ['patch', 'update'], 'services/scale'),
  // Pushes to the registry, and deletes there.
  rule('windlass.dev', ['delete', 'update'], 'images/layers'),
  rule('', WRITE, 'configmaps', 'serviceaccounts'),
  rule('', [...READ, ...WRITE], 'secrets'),
  rule('', ['delete', 'deletecollection'], 'pods'),
  rule('', ['create', 'get'], 'pods/attach', 'pods/exec', 'pods/portforward'),
  rule('', ['create'], 'pods/eviction'),
  rule('policy', WRITE, 'poddisruptionbudgets'),
];

const ADMIN: readonly PolicyRule[] = [rule(RBAC_GROUP, [...READ, ...WRITE], 'roles', 'rolebindings')];

const ALL: readonly PolicyRule[] = [
  { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
  { nonResourceURLs: ['*'], verbs: ['*'] },
];

const aggregateTo = (name: string): Record<string, string> => ({ [`${RBAC_GROUP}/aggregate-to-${name}`]: 'true' });

function role(name: string, labels: Readonly<Record<string, string>>, content: Partial<RoleObject>): RoleObject {
  return {
    apiVersion: `${RBAC_GROUP}/v1`,
    kind: 'ClusterRole',
    metadata: {
      name,
      labels: { ...BOOTSTRAP_LABELS, ...labels },
      annotations: { [AUTOUPDATE_ANNOTATION]: 'true' },
    },
    ...content,
  };
}

const aggregate = (name: string): Partial<RoleObject> => ({
  aggregationRule: { clusterRoleSelectors: [{ matchLabels: aggregateTo(name) }] },
  rules: [],
});

/** Each is part of the next: what may be seen, changed, and given to others in a namespace. */
export const DEFAULT_ROLES: readonly RoleObject[] = [
  role('cluster-admin', {}, { rules: ALL }),
  role('view', aggregateTo('edit'), aggregate('view')),
  role('edit', aggregateTo('admin'), aggregate('edit')),
  role('admin', {}, aggregate('admin')),
  role('system:aggregate-to-view', aggregateTo('view'), { rules: VIEW }),
  role('system:aggregate-to-edit', aggregateTo('edit'), { rules: EDIT }),
  role('system:aggregate-to-admin', aggregateTo('admin'), { rules: ADMIN }),
];

export const DEFAULT_BINDINGS: readonly RoleBindingObject[] = [
  {
    apiVersion: `${RBAC_GROUP}/v1`,
    kind: 'ClusterRoleBinding',
    metadata: {
      name: 'cluster-admin',
      labels: BOOTSTRAP_LABELS,
      annotations: { [AUTOUPDATE_ANNOTATION]: 'true' },
    },
    roleRef: { apiGroup: RBAC_GROUP, kind: 'ClusterRole', name: 'cluster-admin' },
    subjects: [{ apiGroup: RBAC_GROUP, kind: 'Group', name: MASTERS }],
  },
];
