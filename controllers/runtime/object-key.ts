// Keys of the work queues and the few questions every controller asks of metadata.
import { apiVersionOf, type KindName, type KubernetesObject, type OwnerReference } from '../../crds/kind.ts';

/** `namespace/name`, or `name` for what is in no namespace. */
export function keyOf(object: { metadata: { namespace?: string; name: string } }): string {
  return joinKey(object.metadata.namespace, object.metadata.name);
}

export const joinKey = (namespace: string | undefined, name: string): string =>
  namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;

/** The inverse of keyOf(). */
export function splitKey(key: string): { namespace: string | undefined; name: string } {
  const slash = key.indexOf('/');
  return slash < 0
    ? { namespace: undefined, name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

export const isDeleting = (object: KubernetesObject): boolean => object.metadata.deletionTimestamp !== undefined;

/** The one owner that controls `object`. */
export function controllerOf(object: KubernetesObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find(({ controller }) => controller === true);
}

export function isControlledBy(object: KubernetesObject, owner: KubernetesObject): boolean {
  return owner.metadata.uid !== undefined && controllerOf(object)?.uid === owner.metadata.uid;
}

/** The reference a child carries to the object that controls it. */
export function controllerReference(kind: KindName, owner: KubernetesObject): OwnerReference {
  return {
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

export const hasFinalizer = (object: KubernetesObject, finalizer: string): boolean =>
  object.metadata.finalizers?.includes(finalizer) ?? false;

/** On a Node: comma-separated ranges that its routes lead to; written by its agent. */
export const HOST_ROUTES_ANNOTATION = 'windlass.dev/host-routes';

/** On a Node: what its container runtime can do beyond CRI, with commas between; written by its agent. */
export const RUNTIME_FEATURES_ANNOTATION = 'windlass.dev/runtime-features';

/** On a Node: its public key for encrypted networks, base64; '' where it cannot encrypt. Written by its agent. */
export const ENCRYPTION_KEY_ANNOTATION = 'windlass.dev/encryption-key';

/** On a Node: why it cannot encrypt, in words; '' where it can. Written by its agent. */
export const ENCRYPTION_LACKS_ANNOTATION = 'windlass.dev/encryption-lacks';

export const IN_USE_FINALIZER = 'windlass.dev/in-use';
export const NODE_FINALIZER = 'windlass.dev/node';
/** On a Volume whose bytes are on a node: the agent there deletes them first. */
export const NODE_DATA_FINALIZER = 'windlass.dev/node-data';
