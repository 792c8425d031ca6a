import type { PeerSource, PullImageProgressRequest, PullImageProgressResponse } from '../../cri/node-messages.ts';
import type { Draft } from '../../cri/messages.ts';
import { requireField } from '../../cri/presence.ts';
import type { CallContext } from '../../cri/services.ts';
import { parseDigest } from '../../oci/digest.ts';
import type { PeerSource as NodePeers } from '../../oci/distribution/registry-client.ts';
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
  const peers = request.peers ? toPeers(request.peers) : undefined;
  requireDiskSpace(shim.instance.home, shim.storage.reserve, 'an image');
  return progressStream<Draft<PullImageProgressResponse>, { id: string; sizeBytes: number }>(
    (onProgress) => shim.images.pull(name, auth, { signal, onProgress, peers }),
    ({ id, sizeBytes }) => ({ phase: 'Done', completedBytes: sizeBytes, totalBytes: sizeBytes, imageId: id }),
  );
}

function toPeers({ socket, first, digest, only }: PeerSource): NodePeers {
  if (only) requireField(digest, 'peers.digest');
  return {
    socket: requireField(socket, 'peers.socket'),
    first,
    only,
    ...(digest === '' ? {} : { digest: parseDigest(digest) }),
  };
}
