// Looks an image up on the node, answering from a moment ago where it can: a burst of starts from one image asks the
// runtime once. Only images that are there are remembered.
import type { Clock } from '../../../lib/clock.ts';
import type { InspectedImage, NodeRuntime } from '../runtime/node-runtime.ts';

const FRESH_MS = 500;
const MAX_ENTRIES = 256;

/** A look-up over `runtime`. */
export function createImageLookUp(
  runtime: Pick<NodeRuntime, 'inspectImage'>,
  clock: Clock,
): (image: string) => Promise<InspectedImage | undefined> {
  const recent = new Map<string, { readonly atMs: number; readonly found: Promise<InspectedImage | undefined> }>();
  return async (image) => {
    const known = recent.get(image);
    if (known && clock.now() - known.atMs < FRESH_MS) return known.found;
    const entry = { atMs: clock.now(), found: runtime.inspectImage(image) };
    if (recent.size >= MAX_ENTRIES) recent.clear();
    recent.set(image, entry);
    const forget = (): void => {
      if (recent.get(image) === entry) recent.delete(image);
    };
    try {
      const found = await entry.found;
      if (!found) forget();
      return found;
    } catch (error) {
      forget();
      throw error;
    }
  };
}
