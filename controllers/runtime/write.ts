// The writes that several reconcilers share. Each is conditional on the version that was read: on a cache that is
// behind it fails with Conflict, and the loop comes back.
import type { KindClient } from '../../client/client.ts';
import type { KubernetesObject } from '../../crds/kind.ts';
import { isSameStatus } from './conditions.ts';
import { hasFinalizer } from './object-key.ts';

type WithStatus = KubernetesObject & { status?: object | undefined };

/** Writes the fields of `status` unless they stand there already; other fields stay. Returns whether it wrote. */
export async function writeStatus<T extends WithStatus>(
  client: KindClient<T>,
  object: T,
  status: object,
  signal: AbortSignal,
): Promise<boolean> {
  if (isSameStatus(object.status, status)) return false;
  const { name, namespace, resourceVersion } = object.metadata;
  await client.mergePatch(
    name,
    namespace,
    { metadata: { resourceVersion }, status },
    { subresource: 'status' },
    signal,
  );
  return true;
}

/** Adds `finalizer`, and `annotations`, unless they are there. Returns the object as it is then. */
export async function ensureFinalizer<T extends KubernetesObject>(
  client: KindClient<T>,
  object: T,
  finalizer: string,
  signal: AbortSignal,
): Promise<T> {
  if (hasFinalizer(object, finalizer)) return object;
  const { name, namespace, resourceVersion, finalizers = [] } = object.metadata;
  return client.mergePatch(
    name,
    namespace,
    { metadata: { resourceVersion, finalizers: [...finalizers, finalizer] } },
    {},
    signal,
  );
}

/** Takes `finalizer` off; nothing to do when it is not there. */
export async function removeFinalizer<T extends KubernetesObject>(
  client: KindClient<T>,
  object: T,
  finalizer: string,
  signal: AbortSignal,
): Promise<void> {
  if (!hasFinalizer(object, finalizer)) return;
  const { name, namespace, resourceVersion, finalizers = [] } = object.metadata;
  await client.mergePatch(
    name,
    namespace,
    { metadata: { resourceVersion, finalizers: finalizers.filter((other) => other !== finalizer) } },
    {},
    signal,
  );
}
