// Starts the agent's view of the cluster: the informers it needs, and look-ups over them.
import type { ApiClient } from '../../client/client.ts';
import type { InformerSet } from '../../client/informer-set.ts';
import { configMapKind, secretKind, type ConfigMap, type Secret } from '../../crds/builtin.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import { imageKind, type Image } from '../../crds/image.ts';
import type { KubernetesObject } from '../../crds/kind.ts';
import { networkKind, type Network } from '../../crds/network.ts';
import { serviceKind, type Service } from '../../crds/service.ts';
import { volumeKind, type Volume } from '../../crds/volume.ts';
import type { Cluster, Lister } from './cluster.ts';
import type { ContainerWatches } from './container/controller.ts';
import { withLastKnown } from './server-away.ts';

/** Adds the informers to `informers`; they run with it. */
export function watchCluster(
  client: ApiClient,
  informers: InformerSet,
): { watched: ContainerWatches; cluster: Cluster } {
  const watched = {
    containers: informers.add<Container>(containerKind),
    images: informers.add<Image>(imageKind),
    volumes: informers.add<Volume>(volumeKind),
    networks: informers.add<Network>(networkKind),
    services: informers.add<Service>(serviceKind),
  };
  const cluster: Cluster = {
    containers: listerOf(watched.containers),
    images: listerOf(watched.images),
    volumes: listerOf(watched.volumes),
    networks: listerOf(watched.networks),
    services: listerOf(watched.services),
    secret: withLastKnown((namespace, name, signal) => client.kind<Secret>(secretKind).get(name, namespace, signal)),
    configMap: withLastKnown((namespace, name, signal) =>
      client.kind<ConfigMap>(configMapKind).get(name, namespace, signal),
    ),
  };
  return { watched, cluster };
}

function listerOf<T extends KubernetesObject>(informer: {
  get(key: string): T | undefined;
  list(namespace?: string): T[];
}): Lister<T> {
  return {
    get: (namespace, name) => informer.get(`${namespace}/${name}`),
    list: (namespace) => informer.list(namespace),
  };
}
