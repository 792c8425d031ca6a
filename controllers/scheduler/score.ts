// Which of the nodes that fit is best: spread first, then the least loaded.
import type { Container } from '../../crds/container.ts';
import type { PlacementContext } from './filter.ts';
import type { NodeState } from './node-state.ts';
import { avoidedTaints } from './scores/avoided-taints.ts';
import { imagePresent } from './scores/image-present.ts';
import { leastLoaded, roughLoad } from './scores/least-loaded.ts';
import { labelSpread } from './scores/label-spread.ts';
import { nodeSpread } from './scores/node-spread.ts';

export interface Candidates {
  /** All nodes, over which a spread is counted. */
  readonly all: readonly NodeState[];
  readonly context: PlacementContext;
}

/**
 * One wish about the node: looks once at the container and at all nodes, then says for a node how far it is from the
 * wish. Smaller is better; of several numbers the first that differs decides.
 */
export type Score = (container: Container, candidates: Candidates) => (node: NodeState) => readonly number[];

/** The most important first. A node without the image is only passed over for one that is not much busier. */
const SCORES: readonly Score[] = [labelSpread, nodeSpread, avoidedTaints, roughLoad, imagePresent, leastLoaded];

/** The best of `fitting` (not empty). */
export function chooseNode(container: Container, fitting: readonly NodeState[], candidates: Candidates): NodeState {
  const scores = SCORES.map((score) => score(container, candidates));
  let best = fitting;
  // Only those that are equal by all before have to be asked about the next wish.
  for (const score of scores) {
    if (best.length === 1) break;
    best = leastBy(best, score);
  }
  return best[0] as NodeState;
}

/** Those of `nodes` for which `score` is the smallest, in their order. */
function leastBy(nodes: readonly NodeState[], score: (node: NodeState) => readonly number[]): readonly NodeState[] {
  let least: NodeState[] = [];
  let leastScore: readonly number[] = [];
  for (const node of nodes) {
    const own = score(node);
    if (least.length === 0 || isLess(own, leastScore)) {
      least = [node];
      leastScore = own;
    } else if (!isLess(leastScore, own)) least.push(node);
  }
  return least;
}

/** Of two lists of numbers, the first that differs decides. */
export function isLess(a: readonly number[], b: readonly number[]): boolean {
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? 0;
    if (value !== other) return value < other;
  }
  return false;
}
