// Starts the agent's view of the cluster: the informers it needs, and look-ups over them.
import type { ApiClient } from '../../client/client.ts';
import type { InformerSet } from '../../client/informer-set.ts';
import { archiveKind, type Archive } from '../../crds/archive.ts';
import { configMapKind, nodeKind, secretKind, type ConfigMap, type Node, type Secret } from '../../crds/builtin.ts';
import { containerEndpointKind, type ContainerEndpoint } from '../../crds/container-endpoint.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import { imageKind, type Image } from '../../crds/image.ts';
import type { KubernetesObject } from '../../crds/kind.ts';
import { networkKind, type Network } from '../../crds/network.ts';
import { serviceFrontendKind, type ServiceFrontend } from '../../crds/service-frontend.ts';
import { volumeKind, type Volume } from '../../crds/volume.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { WatchedKind } from '../runtime/controller.ts';
import type { Cluster, Lister } from './cluster.ts';
import { createCompanions, type Companions } from './companions.ts';
import type { ContainerWatches } from './container/controller.ts';
import { withLastKnown } from './server-away.ts';

/** What the agent's controllers hear of. */
export interface AgentWatches extends ContainerWatches {
  readonly endpoints: WatchedKind<ContainerEndpoint>;
  readonly archives: WatchedKind<Archive>;
  /** The Node of this agent alone. */
  readonly nodes: WatchedKind<Node>;
}

/**
 * Adds the informers to `informers`; they run with it, and the companions by themselves. Of the Containers of other nodes
 * an agent watches only those that its own name, and the endpoints.
 */
export function watchCluster(
  { client, nodeName, clock, log }: { client: ApiClient; nodeName: string; clock: Clock; log: Logger },
  informers: InformerSet,
): {
  watched: AgentWatches;
  cluster: Cluster;
  companions: Companions;
  /** Whether all that the tables of Services are made of is in the cache. */
  hasTables: () => boolean;
  /** The Node of this agent. */
  ownNode: () => Node | undefined;
} {
  const own = informers.add<Container>(containerKind, { fieldSelector: `spec.nodeName=${nodeName}` });
  const companions = createCompanions({ client, own, nodeName, clock, log });
  const endpoints = informers.add<ContainerEndpoint>(containerEndpointKind, {
    fieldSelector: `spec.nodeName!=${nodeName}`,
  });
  const nodes = informers.add<Node>(nodeKind, { fieldSelector: `metadata.name=${nodeName}` });
  const others = {
    images: informers.add<Image>(imageKind),
    archives: informers.add<Archive>(archiveKind),
    volumes: informers.add<Volume>(volumeKind),
    networks: informers.add<Network>(networkKind),
    services: informers.add<ServiceFrontend>(serviceFrontendKind),
  };
  const containers: WatchedKind<Container> = {
    synced: own.synced,
    subscribe(handler) {
      const stops = [own.subscribe(handler), companions.subscribe(handler)];
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
  const cluster: Cluster = {
    containers: {
      get(namespace, name) {
        const key = `${namespace}/${name}`;
        return own.get(key) ?? companions.get(key);
      },
      list: (namespace) => [...own.list(namespace), ...companions.list(namespace)],
    },
    endpoints: listerOf(endpoints),
    images: listerOf(others.images),
    archives: listerOf(others.archives),
    volumes: listerOf(others.volumes),
    networks: listerOf(others.networks),
    services: listerOf(others.services),
    secret: withLastKnown((namespace, name, signal) => client.kind<Secret>(secretKind).get(name, namespace, signal)),
    configMap: withLastKnown((namespace, name, signal) =>
      client.kind<ConfigMap>(configMapKind).get(name, namespace, signal),
    ),
  };
  const hasTables = (): boolean =>
    [own, endpoints, others.networks, others.services].every((informer) => informer.hasSynced());
  return {
    watched: { containers, endpoints, nodes, ...others },
    cluster,
    companions,
    hasTables,
    ownNode: () => nodes.get(nodeName),
  };
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
