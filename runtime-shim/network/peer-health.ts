// What this node knows of the other nodes from its own probes and from theirs: who answers, and up to which revision of
// the cluster each has its tables. Pure; the local choice that follows from it is made in service-plan.ts.

/** Probes in a row without an answer that make a peer silent. */
export const SILENT_AFTER = 4;
/** Probes in a row with an answer that end it: a path that loses most packets does not come and go. */
export const BACK_AFTER = 3;

export interface PeerCounts {
  readonly answering: number;
  /** Answered once, and does not any more, or not reliably yet. */
  readonly silent: number;
  /** Never answered yet: nothing is known of them, so they are treated as if they did. */
  readonly unknown: number;
}

export interface PeerHealth {
  /** Makes these the peers; what is known of those that stay is kept. */
  setPeers(ips: readonly string[]): void;
  /** A probe is on its way to the peer. */
  noteProbe(ip: string): void;
  noteAnswer(ip: string): void;
  /** A probe of the peer has come at `atMs`, and said that its tables are as of that revision. */
  noteRevision(ip: string, revision: number, atMs: number): void;
  peers(): readonly string[];
  silent(): ReadonlySet<string>;
  /**
   * Those that answer, and have not said that their tables are as of `revision`. One without a probe since `sinceMs` has
   * nobody who could say it: its kernel answers without a shim.
   */
  behind(revision: number, sinceMs: number): readonly string[];
  counts(): PeerCounts;
}

interface Peer {
  hasAnswered: boolean;
  /** Probes since the last answer. */
  unanswered: number;
  /** Probes in a row with an answer. */
  answered: number;
  isSilent: boolean;
  revision: number;
  /** When its last probe came. */
  heardAtMs: number;
}

const newPeer = (): Peer => ({
  ...{ hasAnswered: false, unanswered: 0, answered: 0, isSilent: false },
  ...{ revision: 0, heardAtMs: -Infinity },
});

/** No peers yet. */
export function createPeerHealth(): PeerHealth {
  const peers = new Map<string, Peer>();
  const namesWhere = (test: (peer: Peer) => boolean): string[] =>
    [...peers].filter(([, peer]) => test(peer)).map(([ip]) => ip);
  return {
    setPeers(ips) {
      const wanted = new Set(ips);
      for (const ip of peers.keys()) if (!wanted.has(ip)) peers.delete(ip);
      for (const ip of wanted) if (!peers.has(ip)) peers.set(ip, newPeer());
    },
    noteProbe(ip) {
      const peer = peers.get(ip);
      if (!peer) return;
      if (peer.unanswered > 0) peer.answered = 0;
      peer.unanswered += 1;
      if (peer.hasAnswered && peer.unanswered >= SILENT_AFTER) peer.isSilent = true;
    },
    noteAnswer(ip) {
      const peer = peers.get(ip);
      if (!peer) return;
      // Several answers at once are to probes that are not counted, or late ones: they count as one.
      if (peer.unanswered > 0) peer.answered += 1;
      if (peer.answered >= BACK_AFTER) peer.isSilent = false;
      Object.assign(peer, { hasAnswered: true, unanswered: 0 });
    },
    noteRevision(ip, revision, atMs) {
      const peer = peers.get(ip);
      // Packets overtake each other.
      if (peer) Object.assign(peer, { revision: Math.max(revision, peer.revision), heardAtMs: atMs });
    },
    peers: () => [...peers.keys()],
    silent: () => new Set(namesWhere(({ isSilent }) => isSilent)),
    behind: (revision, sinceMs) =>
      namesWhere((peer) => peer.hasAnswered && !peer.isSilent && peer.heardAtMs >= sinceMs && peer.revision < revision),
    counts() {
      const silent = namesWhere(({ isSilent }) => isSilent).length;
      const unknown = namesWhere(({ hasAnswered }) => !hasAnswered).length;
      return { answering: peers.size - silent - unknown, silent, unknown };
    },
  };
}
