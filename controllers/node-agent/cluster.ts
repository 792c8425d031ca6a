// What the agent reads of the cluster, from caches that informers keep, and what it asks for one by one.
import type { ConfigMap, Secret } from '../../crds/builtin.ts';
import type { Archive } from '../../crds/archive.ts';
import type { Container } from '../../crds/container.ts';
import type { ContainerEndpoint } from '../../crds/container-endpoint.ts';
import type { Image } from '../../crds/image.ts';
import type { KubernetesObject } from '../../crds/kind.ts';
import type { Network } from '../../crds/network.ts';
import type { ServiceFrontend } from '../../crds/service-frontend.ts';
import type { Volume } from '../../crds/volume.ts';

/** Cached objects; frozen, perhaps a little behind. */
export interface Lister<T extends KubernetesObject> {
  get(namespace: string, name: string): T | undefined;
  list(namespace?: string): readonly T[];
}

export interface Cluster {
  /** Those of this node, and those elsewhere that they name. */
  readonly containers: Lister<Container>;
  /** What runs on other nodes and has an address. */
  readonly endpoints: Lister<ContainerEndpoint>;
  readonly images: Lister<Image>;
  readonly archives: Lister<Archive>;
  readonly volumes: Lister<Volume>;
  readonly networks: Lister<Network>;
  readonly services: Lister<ServiceFrontend>;
  /** Asked from the server: the agent keeps only those in memory that its containers use, for when the server is away. */
  secret(namespace: string, name: string, signal: AbortSignal): Promise<Secret | undefined>;
  configMap(namespace: string, name: string, signal: AbortSignal): Promise<ConfigMap | undefined>;
}

/** The data of a ConfigMap, both kinds, as bytes. */
export function configMapData(configMap: ConfigMap): Record<string, Buffer> {
  return {
    ...Object.fromEntries(Object.entries(configMap.data ?? {}).map(([key, value]) => [key, Buffer.from(value)])),
    ...decode(configMap.binaryData),
  };
}

/** The data of a Secret as bytes. */
export const secretData = (secret: Secret): Record<string, Buffer> => decode(secret.data);

function decode(data: Readonly<Record<string, string>> | undefined): Record<string, Buffer> {
  return Object.fromEntries(Object.entries(data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64')]));
}
