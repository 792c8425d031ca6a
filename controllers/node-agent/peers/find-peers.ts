// Which other nodes have a blob. Those that are said to have it are asked first, then a few of the rest; whoever does not
// answer in time is left alone for a while.
import type { AgentAddress } from '../../../crds/agent-address.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { PeerClient } from './peer-client.ts';
import type { PeerNodes } from './peer-nodes.ts';

/** For all of one look: a dead node costs no more than this, once. */
const LOOK_MS = 1000;
/** How long others may still answer once one has it. */
const GRACE_MS = 100;
/** Nodes asked in one look, however many there are. */
const MAX_ASKED = 16;
/** Holders that are enough. */
const ENOUGH = 3;
const SILENCE_MS = 30_000;

export interface PeerFinder {
  /** Names of nodes that have the blob, those that answered first first; at most 3. `first` are asked before others. */
  find(digest: string, first: readonly string[], signal: AbortSignal): Promise<readonly string[]>;
  /** Where the agent of a Ready node listens. */
  addressOf(nodeName: string, signal: AbortSignal): Promise<AgentAddress | undefined>;
  /** It did not answer, or not to the end: others are asked for the next half minute. */
  noteSilence(nodeName: string): void;
}

/** A finder that has asked nobody yet. */
export function createPeerFinder({
  nodes,
  client,
  clock,
  shuffle = shuffled,
}: {
  readonly nodes: Pick<PeerNodes, 'ready'>;
  readonly client: Pick<PeerClient, 'has'>;
  readonly clock: Clock;
  readonly shuffle?: <T>(list: readonly T[]) => T[];
}): PeerFinder {
  const silentUntil = new Map<string, number>();
  /** Nodes that had something lately: what starts on one node often starts on its neighbours. */
  const helpful = new Set<string>();

  const noteSilence = (nodeName: string): void => {
    helpful.delete(nodeName);
    silentUntil.set(nodeName, clock.now() + SILENCE_MS);
  };

  function candidates(ready: readonly AgentAddress[], first: readonly string[]): AgentAddress[] {
    const now = clock.now();
    for (const [name, until] of silentUntil) if (until <= now) silentUntil.delete(name);
    // Nodes come and go: of one that has gone nothing is kept.
    const names = new Set(ready.map(({ nodeName }) => nodeName));
    for (const name of helpful) if (!names.has(name)) helpful.delete(name);
    const open = ready.filter(({ nodeName }) => !silentUntil.has(nodeName));
    const rank = ({ nodeName }: AgentAddress): number => (first.includes(nodeName) ? 0 : helpful.has(nodeName) ? 1 : 2);
    // Stable: within a rank they stay shuffled, so that a thousand nodes do not all ask the same few.
    return shuffle(open)
      .toSorted((a, b) => rank(a) - rank(b))
      .slice(0, MAX_ASKED);
  }

  return {
    noteSilence,
    async addressOf(nodeName, signal) {
      return (await nodes.ready(signal)).find((address) => address.nodeName === nodeName);
    },
    async find(digest, first, signal) {
      const asked = candidates(await nodes.ready(signal), first);
      const found: string[] = [];
      const enough = new AbortController();
      const stop = AbortSignal.any([signal, enough.signal]);
      const look = async (address: AgentAddress): Promise<void> => {
        try {
          if (!(await client.has(address, digest, stop))) return;
          helpful.add(address.nodeName);
          found.push(address.nodeName);
          if (found.length >= ENOUGH) enough.abort();
          else grace ??= setTimeout(() => enough.abort(), GRACE_MS);
        } catch {
          // Whatever it is, this node does not help now.
          if (!stop.aborted || isOver) noteSilence(address.nodeName);
        }
      };
      let isOver = false;
      let grace: NodeJS.Timeout | undefined;
      const timer = setTimeout(() => {
        isOver = true;
        enough.abort();
      }, LOOK_MS);
      try {
        await Promise.all(asked.map(look));
      } finally {
        clearTimeout(timer);
        clearTimeout(grace);
      }
      signal.throwIfAborted();
      return found;
    },
  };
}

function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((one) => ({ one, key: Math.random() }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ one }) => one);
}
