// Breaks a running cluster at random for a while, puts everything right again, and tells what it did. The same seed gives
// the same choices; when each is made depends on the machine.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster, ClusterNode } from '../cluster.ts';
import type { Supervised } from './supervised.ts';

export interface ChaosOptions {
  readonly seed: number;
  readonly durationMs: number;
  /** Longest time that something stays broken. */
  readonly outageMs: number;
  /** Changes what users want, beside the failures: scales, deletes, updates. */
  readonly disturb: (random: () => number) => Promise<void>;
  readonly say?: (line: string) => void;
}

interface Failure {
  readonly name: string;
  readonly begin: (node: ClusterNode) => Promise<void> | void;
  readonly end: (node: ClusterNode) => Promise<void> | void;
}

const NODE_FAILURES: readonly Failure[] = [
  { name: 'cut off', begin: (node) => node.cut(), end: (node) => node.restore() },
  {
    name: 'loses half of its packets',
    begin: (node) => node.lose(50),
    end: (node) => node.lose(0),
  },
  { name: 'without power', begin: (node) => node.powerOff(), end: (node) => node.boot() },
  { name: 'agent killed', begin: (node) => node.agent.kill(), end: (node) => node.start() },
  { name: 'shim killed', begin: (node) => node.shim.kill(), end: (node) => node.start() },
  { name: 'agent and shim killed', begin: (node) => node.killProcesses(), end: (node) => node.start() },
  { name: 'agent frozen', begin: (node) => node.agent.freeze(), end: (node) => node.agent.thaw() },
  { name: 'shim frozen', begin: (node) => node.shim.freeze(), end: (node) => node.shim.thaw() },
];

/** Mulberry32: small, and the same everywhere. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * One node and one process of the control plane are broken at a time, for a random while each; users go on meanwhile.
 * Resolves when all is switched on again, which is not yet when all is well.
 */
export async function runChaos(cluster: Cluster, options: ChaosOptions): Promise<void> {
  const { outageMs, say = () => undefined } = options;
  const endsAt = performance.now() + options.durationMs;
  const isOver = (): boolean => performance.now() >= endsAt;
  const control = [cluster.apiserver, cluster.controllers, cluster.etcd];
  const pick = <T>(random: () => number, list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const pauseMs = (random: () => number, longest: number): Promise<void> => sleep(random() * longest);

  const breakNodes = async (random: () => number): Promise<void> => {
    while (!isOver()) {
      const node = pick(random, cluster.nodes);
      const failure = pick(random, NODE_FAILURES);
      say(`${node.name}: ${failure.name}`);
      await failure.begin(node);
      await pauseMs(random, outageMs);
      await failure.end(node);
      say(`${node.name}: again as it was`);
      await pauseMs(random, outageMs / 2);
    }
  };
  const breakControl = async (random: () => number): Promise<void> => {
    while (!isOver()) {
      await pauseMs(random, outageMs);
      const part: Supervised = pick(random, control);
      say(`${part.name} killed`);
      await part.kill();
      await pauseMs(random, outageMs / 4);
      part.start();
    }
  };
  const disturb = async (random: () => number): Promise<void> => {
    while (!isOver()) {
      await options.disturb(random);
      await pauseMs(random, outageMs / 4);
    }
  };
  const each = [breakNodes, breakControl, disturb].map((part, index) => part(createRandom(options.seed + index)));
  await Promise.all(each);
  await cluster.waitForApi();
}
