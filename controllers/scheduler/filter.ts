// The contract of a filter: one rule about whether a container may run on a node, which can say why not.
import type { Container } from '../../crds/container.ts';
import type { Image } from '../../crds/image.ts';
import type { Network } from '../../crds/network.ts';
import type { Volume } from '../../crds/volume.ts';
import type { NodeState } from './node-state.ts';

/** Why a node does not fit. Nodes with the same `reason` are counted together. */
export interface Misfit {
  /** Completes "2 node(s) ...", e.g. `were not ready`. */
  readonly reason: string;
  /** The culprit, e.g. the holder of a port; shown in brackets. */
  readonly detail?: string;
  /** The condition's reason when this is what stands in the way; Unschedulable unless said. */
  readonly conditionReason?: string;
}

/** What filters and scores may look at besides the container and the node. */
export interface PlacementContext {
  volume(key: string): Volume | undefined;
  network(key: string): Network | undefined;
  container(key: string): Container | undefined;
  /** The Image object that the container is made from, if there is one. */
  imageOf(container: Container): Image | undefined;
  nodesOfVolume(key: string): readonly string[];
}

export type Filter = (container: Container, node: NodeState, context: PlacementContext) => Misfit | undefined;
