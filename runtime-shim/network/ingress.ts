// This node's place on the ingress network, as its callers declare it.
import type { IngressSpec } from './node-network.ts';
import { syncIngressRoutes } from './ingress-routes.ts';
import { requirePeerNumbers } from './marks.ts';
import type { NetworkParts } from './parts.ts';
import { replaceElements } from './replace-elements.ts';
import { requireNetwork } from './sandboxes.ts';
import { ingressElements } from './state.ts';

export interface Ingress {
  /** Makes a change of the networks, or of the ingress network, and what it means for the elements. */
  follow(change: () => void): Promise<void>;
  /** NotFound for a network that is not here, Invalid for a peer that cannot be one. */
  set(ingress: IngressSpec | undefined): Promise<void>;
}

export function createIngress({
  instance,
  state,
  tables,
  links,
}: Pick<NetworkParts, 'instance' | 'state' | 'tables' | 'links'>): Ingress {
  const follow = async (change: () => void): Promise<void> => {
    const before = ingressElements(instance, state);
    change();
    await replaceElements(tables, before, ingressElements(instance, state));
  };
  return {
    follow,
    async set(ingress) {
      if (JSON.stringify(ingress) === JSON.stringify(state.ingress)) return;
      if (ingress) {
        const [subnet] = requireNetwork(state, ingress.network).subnets;
        requirePeerNumbers(
          subnet?.cidr ?? '',
          ingress.peers.map(({ ip }) => ip),
        );
      }
      await follow(() => void (state.ingress = ingress));
      syncIngressRoutes(instance, state, links);
    },
  };
}
