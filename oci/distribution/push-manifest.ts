// The last step of a push: the manifest, whose bytes are its name and therefore go as they are.
import { WindlassError } from '../../lib/errors.ts';
import { isDigest } from '../digest.ts';
import type { Descriptor } from '../manifest.ts';
import type { Reference } from '../reference.ts';
import type { Endpoint } from './registries.ts';
import type { RegistryCall } from './registry-client.ts';
import { hostOf, pushScope, type RegistryRequests } from './registry-requests.ts';
import { dump } from './transport.ts';

export type ManifestPusher = (
  endpoint: Endpoint,
  reference: Reference,
  descriptor: Descriptor,
  bytes: Buffer,
  call: RegistryCall,
) => Promise<void>;

/** A pusher of manifests. Throws Invalid when the registry took it for something else. */
export function createManifestPusher(requests: RegistryRequests): ManifestPusher {
  return async (endpoint, reference, descriptor, bytes, call) => {
    const target = reference.digest ?? reference.tag ?? 'latest';
    const response = await requests.ask(
      endpoint,
      reference,
      {
        method: 'PUT',
        path: `manifests/${target}`,
        headers: { 'content-type': descriptor.mediaType },
        body: bytes,
        scopes: [pushScope(reference.repository)],
      },
      call,
    );
    await dump(response.body);
    const stored = response.headers['docker-content-digest'];
    if (isDigest(stored) && stored !== descriptor.digest) {
      const message = `registry ${hostOf(endpoint)} stored manifest ${descriptor.digest} as ${stored}`;
      throw new WindlassError('Invalid', message);
    }
  };
}
