// Which backend a client gets: at random, or by rendezvous hashing (every node decides alike without talking, and one that
// comes or goes moves only its own share of the clients). Pure.
import type { ServiceBackend } from './node-network.ts';

/** FNV-1a. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash;
}

/** Spreads every bit over all of them (the last step of MurmurHash3). */
export function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The backends in the order in which they are tried: the same for one client always, or at random without `clientIp`. */
export function orderForClient(
  backends: readonly ServiceBackend[],
  clientIp: string | undefined,
): readonly ServiceBackend[] {
  const client = clientIp === undefined ? undefined : hashOf(clientIp);
  return backends
    .map((backend) => ({
      backend,
      score: client === undefined ? Math.random() : mix(hashOf(backend.id) ^ mix(client)),
    }))
    .toSorted((a, b) => b.score - a.score)
    .map(({ backend }) => backend);
}
