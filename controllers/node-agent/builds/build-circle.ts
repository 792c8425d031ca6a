// Builds that wait for each other: each begins with, or copies from, an image that another one is to make. Pure.
import type { Image } from '../../../crds/image.ts';
import { referencesOfBuild } from './build-request.ts';

/** One Image and the reference that its build waits for; the next one makes that, after the last the first. */
export interface Wait {
  readonly name: string;
  readonly reference: string;
}

/**
 * The circle that `image` is in when it cannot be built without `missing`; undefined when somebody in the chain waits for
 * nobody. `images` are those of its namespace, each of which says in its status what it waits for.
 */
export function findBuildCircle(image: Image, missing: string, images: readonly Image[]): readonly Wait[] | undefined {
  const { name } = image.metadata;
  const waits: Wait[] = [{ name, reference: missing }];
  for (;;) {
    const wanted = waits.at(-1)?.reference ?? '';
    // Whoever has it may be of an older spec; it is on a node then, and not what failed.
    const makers = images.filter((one) => one.spec.build && referencesOfBuild(one).includes(wanted));
    if (makers.some((one) => one.metadata.name === name)) return waits;
    const [maker] = makers;
    const next = maker?.status?.waitsFor;
    // A circle further on is named by those that are in it.
    if (maker === undefined || next === undefined || waits.some((one) => one.name === maker.metadata.name)) return;
    waits.push({ name: maker.metadata.name, reference: next });
  }
}

/** `images are built from each other, ...: "a" from shop/b:1 of "b", "b" from shop/a:1 of "a"`. */
export function describeCircle(waits: readonly Wait[]): string {
  const [first] = waits;
  if (waits.length === 1) return `image "${first?.name}" is built from its own name ${first?.reference}`;
  const steps = waits.map(
    ({ name, reference }, index) => `"${name}" from ${reference} of "${waits[(index + 1) % waits.length]?.name}"`,
  );
  return `images are built from each other, so that none can be the first: ${steps.join(', ')}`;
}
