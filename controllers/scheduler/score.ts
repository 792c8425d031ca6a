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
  let best = fitting[0] as NodeState;
  let bestScore = scores.flatMap((score) => score(best));
  for (const candidate of fitting.slice(1)) {
    const candidateScore = scores.flatMap((score) => score(candidate));
    if (isLess(candidateScore, bestScore)) {
      best = candidate;
      bestScore = candidateScore;
    }
  }
  return best;
}

/** Of two lists of numbers, the first that differs decides. */
export function isLess(a: readonly number[], b: readonly number[]): boolean {
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? 0;
    if (value !== other) return value < other;
  }
  return false;
}
