import type { Image } from '../../../crds/image.ts';
import { referencesOf } from '../../image/plan.ts';
import type { InspectedImage } from '../runtime/node-runtime.ts';

/**
 * Tags that an Image gave before and no longer asks for, as far as they still mean it on the node. One that another
 * Image claims stays, and so does the last name: without it the bytes would go.
 */
export function droppedTags(image: Image, inspected: InspectedImage, images: readonly Image[]): string[] {
  const claimed = new Set(images.flatMap(referencesOf));
  const dropped = (image.status?.tags ?? []).filter((tag) => !claimed.has(tag) && inspected.references.includes(tag));
  return dropped.length < inspected.references.length ? dropped : [];
}
