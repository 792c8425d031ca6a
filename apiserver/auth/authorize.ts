// What is fixed: masters may do everything, nodes what the node rule says, join tokens ask to be one, the registry asks about
// others. Roles add to it (authorizer.ts).
import { UNAUTHENTICATED, type User } from './user.ts';
import { BOOTSTRAPPERS, REGISTRY_USER } from '../../crds/join.ts';
import { authorizeNode } from './node-rule.ts';

/** What is asked for: a verb on a resource, or on a path outside the resources. */
export interface Attributes {
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** Set for requests that name no resource. */
  readonly path?: string;
}

export interface Decision {
  readonly allowed: boolean;
  /** Why, for the message of a refusal. */
  readonly reason: string;
}

export const MASTERS = 'system:masters';
export const NODES = 'system:nodes';

const OWN_REVIEWS = new Set(['selfsubjectaccessreviews', 'selfsubjectrulesreviews', 'selfsubjectreviews']);

/** What is answered to everybody. */
const PUBLIC_PATH = /^\/((healthz|livez|readyz)(\/.*)?|version|ca\.crt)$/;

/** Decides by the attributes alone; what depends on the object is checked at admission (node-restriction.ts). */
export function authorize(user: User, attributes: Attributes): Decision {
  if (user.groups.includes(MASTERS)) return { allowed: true, reason: '' };
  if (attributes.verb === 'get' && PUBLIC_PATH.test(attributes.path ?? '')) return { allowed: true, reason: '' };
  // Discovery and the questions about oneself are for everybody who is somebody.
  if (user.groups.includes(UNAUTHENTICATED)) return { allowed: false, reason: '' };
  if (attributes.path !== undefined && attributes.verb === 'get' && !attributes.path.startsWith('/metrics')) {
    return { allowed: true, reason: '' };
  }
  if (attributes.verb === 'create' && OWN_REVIEWS.has(attributes.resource)) return { allowed: true, reason: '' };
  if (user.groups.includes(NODES)) return authorizeNode(user, attributes);
  if (user.name === REGISTRY_USER) return authorizeRegistry(attributes);
  if (user.groups.includes(BOOTSTRAPPERS)) return authorizeBootstrapper(attributes);
  return { allowed: false, reason: '' };
}

/** What upstream's role system:auth-delegator allows, and the lease by which the registry's metrics are found. */
function authorizeRegistry({ verb, group, resource, subresource, namespace, name }: Attributes): Decision {
  const isReview =
    (group === 'authentication.k8s.io' && resource === 'tokenreviews') ||
    (group === 'authorization.k8s.io' && resource === 'subjectaccessreviews');
  const isLease =
    group === 'coordination.k8s.io' &&
    resource === 'leases' &&
    namespace === 'windlass-system' &&
    (isRegistryLease(namespace, name) || verb === 'create');
  const isWrite = ['get', 'create', 'update', 'patch'].includes(verb);
  const allowed = subresource === '' && ((isReview && verb === 'create') || (isLease && isWrite));
  return { allowed, reason: allowed ? '' : 'the registry may only ask about others, and say where it is' };
}

/** Where a registry is found; one that is made has its name in the object. */
export const isRegistryLease = (namespace: string, name: string): boolean =>
  namespace === 'windlass-system' && name.startsWith('registry-');

/** A join token is good for one thing: to ask for the certificate of a node, and to fetch the answer. */
function authorizeBootstrapper({ verb, group, resource, subresource, name }: Attributes): Decision {
  const isRequest = group === 'certificates.k8s.io' && resource === 'certificatesigningrequests' && subresource === '';
  const allowed = isRequest && (verb === 'create' || (verb === 'get' && name !== ''));
  return { allowed, reason: allowed ? '' : 'a join token may only ask for the certificate of a node' };
}
