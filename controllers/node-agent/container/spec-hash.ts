// Which part of a Container's spec the running container was made from.
import { shortHash } from '../../../lib/instance.ts';

/** Fields that take effect on a running container (or concern no process at all); all others replace it. */
const IN_PLACE = new Set([
  'ports',
  'publishAllPorts',
  'networks',
  'desiredState',
  'restartedAt',
  'restartPolicy',
  'maxRetries',
  'ttlSecondsAfterFinished',
  'terminationGracePeriodSeconds',
  'healthCheck',
  'onUnhealthy',
  'logging',
  'priority',
  'placement',
  'resources',
  'nodeName',
  'nodeSelector',
  'tolerations',
  'dependsOn',
  'anonymousVolumes',
  'imagePullPolicy',
  'imagePullSecrets',
]);

// A cached object is never changed, and is asked about with each look at its container.
const known = new WeakMap<object, string>();

/**
 * A short hash of the fields whose change replaces the container; independent of the order of keys. What runs carries it,
 * and so do files that are kept: another way to hash would replace them all.
 */
export function specHash(spec: object): string {
  const before = Object.isFrozen(spec) ? known.get(spec) : undefined;
  if (before !== undefined) return before;
  const hash = hashOf(spec);
  if (Object.isFrozen(spec)) known.set(spec, hash);
  return hash;
}

function hashOf(spec: object): string {
  const relevant = Object.fromEntries(Object.entries(spec).filter(([key]) => !IN_PLACE.has(key)));
  return shortHash(canonicalJson(relevant), 16);
}

/** JSON with sorted keys and without undefined values. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
