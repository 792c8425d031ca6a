import type { Container } from '../../../crds/container.ts';

/** `kubectl delete --grace-period` wins over the spec while the object is being deleted. */
export function graceSecondsOf({ metadata, spec }: Container): number {
  const own = spec.terminationGracePeriodSeconds ?? 10;
  return metadata.deletionTimestamp === undefined ? own : (metadata.deletionGracePeriodSeconds ?? own);
}
