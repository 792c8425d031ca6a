import type { PullImageProgressRequest, PullImageProgressResponse } from '../../cri/node-messages.ts';
import type { Draft } from '../../cri/messages.ts';
import { requireField } from '../../cri/presence.ts';
import type { CallContext } from '../../cri/services.ts';
import { requireDiskSpace } from '../storage/disk-reserve.ts';
import type { Shim } from './deps.ts';
import { progressStream } from './progress-stream.ts';
import { authOf } from './transfer-images.ts';

/** Pulls and tells how far it is. */
export function pullImageProgress(
  shim: Shim,
  request: PullImageProgressRequest,
  { signal }: CallContext,
): AsyncGenerator<Draft<PullImageProgressResponse>> {
  const auth = authOf(request);
  const name = requireField(request.reference, 'reference');
  requireDiskSpace(shim.instance.home, shim.storage.reserve, 'an image');
  return progressStream<Draft<PullImageProgressResponse>, { id: string; sizeBytes: number }>(
    (onProgress) => shim.images.pull(name, auth, { signal, onProgress }),
    ({ id, sizeBytes }) => ({ phase: 'Done', completedBytes: sizeBytes, totalBytes: sizeBytes, imageId: id }),
  );
}
