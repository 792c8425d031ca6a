// The end of an Image on its node: its names go, and with the last name the bytes.
import type { Container } from '../../../crds/container.ts';
import type { Image } from '../../../crds/image.ts';
import { referencesOf } from '../../image/plan.ts';
import { localReference } from './image-source.ts';
import { normaliseReference } from './reference.ts';

/**
 * The names on this node that only `image` stands for. What another Image claims, or a Container of any namespace on
 * the node asks for by itself, stays. Pure.
 */
export function namesToRelease(image: Image, images: readonly Image[], containers: readonly Container[]): string[] {
  const own = [...new Set([...referencesOf(image), ...(image.status?.tags ?? []), localReference(image)])];
  const others = images.filter(
    ({ metadata }) => metadata.uid !== image.metadata.uid && metadata.deletionTimestamp === undefined,
  );
  const wanted = new Set([
    ...others.flatMap((other) => [...referencesOf(other), localReference(other)]),
    ...containers.flatMap(({ spec }) => (spec.image === undefined ? [] : [normaliseReference(spec.image)])),
  ]);
  return own.filter((name) => !wanted.has(name));
}
