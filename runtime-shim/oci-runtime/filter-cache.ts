// Compiled seccomp filters. To compile the default profile is a good part of a start; crun keeps the result with the
// container and takes it back, shortened, for the next one that has the same profile.
import type { OciSpec } from './oci-spec.ts';
import type { OciRuntime } from './runtime.ts';
import type { SeccompProfile } from './seccomp-profile.ts';
import { shortenFilter } from './shorten-filter.ts';

const ANNOTATION = 'run.oci.seccomp_bpf_data';
/** Profiles differ by capabilities only: a node sees a handful. */
const MAX_FILTERS = 64;

export interface FilterCache {
  /** The spec, with its filter compiled if it is known. */
  apply(spec: OciSpec): OciSpec;
  /** Keeps the filter of a container that was just created by `spec`. */
  learn(containerId: string, spec: OciSpec): void;
}

/** An empty cache; does nothing for a runtime that keeps no compiled filters. */
export function createFilterCache(readFilter: OciRuntime['readFilter']): FilterCache {
  const filters = new Map<string, string>();
  // A profile is some 10 KB of text, and asked about twice per container.
  const keys = new WeakMap<SeccompProfile, string>();
  const keyOf = ({ linux: { seccomp } }: OciSpec): string | undefined => {
    if (!seccomp) return undefined;
    const key = keys.get(seccomp) ?? JSON.stringify(seccomp);
    keys.set(seccomp, key);
    return key;
  };
  return {
    apply(spec) {
      const filter = filters.get(keyOf(spec) ?? '');
      return filter === undefined ? spec : { ...spec, annotations: { ...spec.annotations, [ANNOTATION]: filter } };
    },
    learn(containerId, spec) {
      const key = keyOf(spec);
      if (key === undefined || filters.has(key) || filters.size >= MAX_FILTERS) return;
      const filter = readFilter(containerId);
      if (filter && filter.length > 0) filters.set(key, shortenFilter(filter).toString('base64'));
    },
  };
}
