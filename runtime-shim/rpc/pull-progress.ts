import type { PullImageProgressRequest, PullImageProgressResponse } from '../../cri/node-messages.ts';
import type { Draft } from '../../cri/messages.ts';
import { requireField } from '../../cri/presence.ts';
import type { CallContext } from '../../cri/services.ts';
import type { PullProgress } from '../images/image-service.ts';
import type { Shim } from './deps.ts';

/** Pulls and tells how far it is; a reader that is slow sees fewer steps, never old ones. */
export async function* pullImageProgress(
  shim: Shim,
  { reference, username, password }: PullImageProgressRequest,
  { signal }: CallContext,
): AsyncGenerator<Draft<PullImageProgressResponse>> {
  let latest: PullProgress | undefined;
  let isOver = false;
  let wake = (): void => undefined;
  const pulling = shim.images
    .pull(requireField(reference, 'reference'), username ? { username, password } : undefined, {
      signal,
      onProgress: (progress) => {
        latest = progress;
        wake();
      },
    })
    .finally(() => {
      isOver = true;
      wake();
    });
  // Awaited below; without this a reader that leaves early would make a failure count as unhandled.
  pulling.catch(() => undefined);
  while (!isOver) {
    if (latest) {
      const { phase, completedBytes, totalBytes } = latest;
      latest = undefined;
      yield { phase, completedBytes, totalBytes };
    } else {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  const image = await pulling;
  yield { phase: 'Done', completedBytes: image.sizeBytes, totalBytes: image.sizeBytes, imageId: image.id };
}
