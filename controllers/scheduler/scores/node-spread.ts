import { controllerOf } from '../../runtime/object-key.ts';
import type { Score } from '../score.ts';

/** Few of the same Service on one node. */
export const nodeSpread: Score = (container) => {
  const owner = controllerOf(container)?.uid;
  return (state) => [owner === undefined ? 0 : (state.owners.get(owner) ?? 0)];
};
