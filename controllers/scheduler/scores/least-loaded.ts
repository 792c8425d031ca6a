import { allocatable } from '../filters/resources.ts';
import type { NodeState } from '../node-state.ts';
import type { Score } from '../score.ts';

/** Differences below this many containers, or this share of what the node offers, are no difference to roughLoad. */
const CONTAINERS_PER_STEP = 10;
const STEPS_OF_LOAD = 10;

/** Load in steps so large that what costs time at the start (an image to pull) decides among nodes of one step. */
export const roughLoad: Score = () => (state) => [
  Math.max(Math.floor(load(state) * STEPS_OF_LOAD), Math.floor(state.claims.size / CONTAINERS_PER_STEP)),
];

/** Load in steps of 1 %, so that small differences do not decide, then the number of containers. */
export const leastLoaded: Score = () => (state) => [Math.round(100 * load(state)), state.claims.size];

/** The larger of the promised parts of CPU and memory. */
function load(state: NodeState): number {
  const part = (used: number, offered: number): number =>
    Number.isFinite(offered) && offered > 0 ? used / offered : 0;
  return Math.max(part(state.cpu, allocatable(state, 'cpu')), part(state.memory, allocatable(state, 'memory')));
}
