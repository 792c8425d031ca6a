// Under which name the runtime keeps what a Container writes into its root file system: it outlives runs and sandboxes,
// and ends with the Container or with the spec that it was made from.
import type { Container } from '../../../crds/container.ts';
import type { KeptImage } from '../images/prepare-image.ts';
import { ANNOTATIONS } from './annotations.ts';
import type { ContainerMemory } from './memory.ts';
import { currentOf, type Observed } from './plan.ts';
import { specHash } from './spec-hash.ts';

/** The key of a Container's writable layer for one version of its spec. */
export const rootfsKey = (uid: string, hash: string): string => `${uid}.${hash}`;

/** The key for the spec as it is. */
export const rootfsKeyOf = ({ metadata, spec }: Container): string => rootfsKey(metadata.uid ?? '', specHash(spec));

/** Of the layers the runtime keeps, those that no Container of this node goes on with. */
export function findStrayRootFilesystems(keys: readonly string[], own: readonly Container[]): string[] {
  const wanted = new Set(own.map(rootfsKeyOf));
  return keys.filter((key) => !wanted.has(key));
}

/**
 * The image of the last run that the present spec had on this node: what it wrote belongs to that image. As long as nothing
 * has failed, that it has been removed under its run is found out by the next one.
 */
export function keptImage(
  observed: Pick<Observed, 'container' | 'sandboxes' | 'containers' | 'startFailure'>,
  memory: Pick<ContainerMemory, 'image'>,
): KeptImage | undefined {
  const { run } = currentOf(observed);
  if (run) {
    const { [ANNOTATIONS.imageDigest]: digest, [ANNOTATIONS.image]: reference } = run.annotations;
    if (run.startedAtMs <= 0 || !digest || !reference) return undefined;
    const { image } = memory;
    const isKnown = image?.digest === digest && observed.startFailure === undefined;
    return { digest, reference, ...(isKnown ? { image } : {}) };
  }
  const { status, spec } = observed.container;
  const hasRun = status?.startedAt !== undefined && status.specHash === specHash(spec);
  return hasRun && status.imageDigest && status.image
    ? { digest: status.imageDigest, reference: status.image }
    : undefined;
}
