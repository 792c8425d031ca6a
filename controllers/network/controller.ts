// Watched: Networks; Containers on them; Nodes; Namespaces (for their `default`).
import type { Node } from '../../crds/builtin.ts';
import type { Container } from '../../crds/container.ts';
import { NO_NETWORK, type Image } from '../../crds/image.ts';
import { INGRESS_NETWORK, isIngress, networkKind, type Network } from '../../crds/network.ts';
import type { RunPart } from '../../lib/run-all.ts';
import { createIndex } from '../runtime/cache.ts';
import { createController, watch, type Watch } from '../runtime/controller.ts';
import type { ControllerDeps } from '../runtime/deps.ts';
import { HOST_ROUTES_ANNOTATION, isDeleting, joinKey, keyOf } from '../runtime/object-key.ts';
import { createNetworkReconciler } from './reconcile.ts';
import { DEFAULT_NETWORK, networksOf } from './plan.ts';

/** Endpoints of many containers that start together become one write: soon where other nodes learn from it who is where. */
const ENDPOINTS_DELAY_MS = 100;
const BRIDGE_ENDPOINTS_DELAY_MS = 500;

/** The part that keeps Networks; overlays use UDP port `vxlanPort`. */
export function createNetworkController(deps: ControllerDeps, { vxlanPort }: { vxlanPort: number }): RunPart {
  const { networks, containers, images, nodes, namespaces } = deps.caches;
  const keysOf = ({ metadata, spec }: Container): string[] =>
    networksOf({ spec }).map((name) => joinKey(metadata.namespace, name));
  const endpoints: Watch = {
    synced: (signal) => containers.synced(signal),
    subscribe: (queue) =>
      containers.subscribe(({ object, previous }) => {
        for (const key of new Set([...keysOf(object), ...(previous ? keysOf(previous) : [])])) {
          // A node without addresses holds up its first container; an endpoint only has to come soon.
          const network = networks.get(key);
          const isServed = network?.status?.nodes?.some(({ name }) => name === object.spec.nodeName);
          const isUrgent = object.spec.nodeName !== undefined && !isServed;
          queue.addAfter(key, isUrgent ? 0 : endpointsDelayMs(network));
        }
      }),
  };
  return createController(deps, {
    name: 'network',
    workers: 1,
    reconcile: createNetworkReconciler({
      client: deps.client.kind(networkKind),
      networks,
      namespaces,
      nodes,
      containersOn: createIndex(containers, keysOf),
      imagesOn: createIndex(images, buildNetworkOf),
      events: deps.events,
      clock: deps.clock,
      vxlanPort,
    }),
    watches: [
      // A range that comes free is of use to every Network that waits for one.
      watch(networks, (network, deleted) => [
        keyOf(network),
        ...(deleted
          ? networks
              .list()
              .filter(({ status }) => !status?.subnets)
              .map(keyOf)
          : []),
      ]),
      watch(namespaces, ({ metadata }) => [joinKey(metadata.name, DEFAULT_NETWORK)]),
      membership(deps),
      endpoints,
      watch(images, buildNetworkOf),
    ],
  });
}

/** Key of the network that the RUN instructions of a build are on. */
function buildNetworkOf({ metadata, spec }: Image): string[] {
  const name = spec.build?.network ?? DEFAULT_NETWORK;
  return spec.build === undefined || name === NO_NETWORK ? [] : [joinKey(metadata.namespace, name)];
}

// Its end waits for its last container.
const endpointsDelayMs = (network: Network | undefined): number =>
  network?.spec.driver === 'overlay' || (network && isDeleting(network))
    ? ENDPOINTS_DELAY_MS
    : BRIDGE_ENDPOINTS_DELAY_MS;

// A node that joins or leaves changes what networks look like, and so do its routes and addresses; heartbeats do not.
const factsOf = ({ metadata, status }: Node): string =>
  JSON.stringify([
    metadata.annotations?.[HOST_ROUTES_ANNOTATION],
    (status?.addresses ?? []).filter(({ type }) => type === 'InternalIP').map(({ address }) => address),
  ]);

const INGRESS_KEY = joinKey(INGRESS_NETWORK.namespace, INGRESS_NETWORK.name);
/** All nodes are in the status of that network, and all agents read it: many that join together are one write. */
const INGRESS_DELAY_PER_NODE_MS = 5;

function membership({ caches: { nodes, networks } }: ControllerDeps): Watch {
  return {
    synced: (signal) => Promise.all([nodes.synced(signal), networks.synced(signal)]).then(() => undefined),
    subscribe: (queue) =>
      nodes.subscribe(({ object, previous, deleted }) => {
        if (previous && !deleted && factsOf(previous) === factsOf(object)) return;
        for (const network of networks.list()) if (!isIngress(network)) queue.add(keyOf(network));
        const count = nodes.list().length;
        if (count > 1) queue.addAfter(INGRESS_KEY, count * INGRESS_DELAY_PER_NODE_MS);
      }),
  };
}
