import type { Filter } from '../filter.ts';
import { isOfPlatform } from '../node-platform.ts';

/**
 * An image that was built or imported is there for one platform only, and runs on nodes of that. What is pulled may be
 * for several, and each node takes its own.
 */
export const platform: Filter = (container, { node }, context) => {
  const image = context.imageOf(container);
  const wanted = image?.spec.reference === undefined ? image?.status?.platform : undefined;
  if (wanted === undefined || isOfPlatform(node, wanted)) return undefined;
  return { reason: `had another platform than the image's ${wanted}` };
};
