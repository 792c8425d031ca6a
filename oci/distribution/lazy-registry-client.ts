// A registry client whose code is loaded with its first call: a node that pulls nothing does without an HTTP library.
import type { RegistryClientOptions } from './create-registry-client.ts';
import type { RegistryClient } from './registry-client.ts';

export function createLazyRegistryClient(options: RegistryClientOptions): RegistryClient {
  let loading: Promise<RegistryClient> | undefined;
  const load = (): Promise<RegistryClient> =>
    (loading ??= import('./create-registry-client.ts').then(({ createRegistryClient }) =>
      createRegistryClient(options),
    ));
  return {
    currentDigest: async (...args) => (await load()).currentDigest(...args),
    peersFor: async (...args) => (await load()).peersFor(...args),
    resolve: async (...args) => (await load()).resolve(...args),
    readManifest: async (...args) => (await load()).readManifest(...args),
    fetchBlob: async (...args) => (await load()).fetchBlob(...args),
    pushBlob: async (...args) => (await load()).pushBlob(...args),
    pushManifest: async (...args) => (await load()).pushManifest(...args),
    close: async () => (await loading)?.close(),
  };
}
