import type { Score } from '../score.ts';

/** The node holds the image already, as the Image object says; without such an object nobody knows. */
export const imagePresent: Score = (container, { context }) => {
  const holders = new Set(context.imageOf(container)?.status?.nodes);
  return ({ name }) => [holders.has(name) ? 0 : 1];
};
