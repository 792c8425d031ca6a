// Notices nodes that fall silent, long before their lease runs out. Every node asks every other one over the ingress
// network, the way that published ports take; the other kernel answers, whatever its processes do. It is this node's own
// choice alone: nothing is written anywhere. What it asks also says up to which revision its own tables are, which the
// other shim reads: so a node that stops an endpoint knows when nobody sends there any more.
import { setTimeout as sleep } from 'node:timers/promises';
import { isAbort } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { forgetUnanswered } from '../host/conntrack.ts';
import { openEchoSocket, type EchoSocket } from '../host/icmp.ts';
import type { NetlinkSocket } from '../host/netlink.ts';
import type { NodeNetwork } from './node-network.ts';
import { createPeerHealth } from './peer-health.ts';
import { ingressOf, silentAddresses, type NetworkState } from './state.ts';
import type { Tables } from './tables.ts';

const PROBE_MS = 250;
/** With many peers probes are further apart: at most 400 a second. */
const PROBE_MS_PER_PEER = 2.5;
const RETRY_MS = 1000;
/** A shim that is there has sent a probe within this time, or this many times the time between two. */
const HEARD_MS = 2000;
const HEARD_PROBES = 4;
const AWAIT_LOOK_MS = 10;
const MAGIC = Buffer.from('windlass');

export interface PeerWatchDeps {
  readonly state: NetworkState;
  readonly tables: Pick<Tables, 'settled' | 'syncServices'>;
  readonly filter: NetlinkSocket;
  readonly log: Logger;
}

export interface PeerWatch {
  run(signal: AbortSignal): Promise<void>;
  readonly counts: NodeNetwork['probes'];
  /** Tells the peers that the tables here are as of that revision. */
  tell(revision: number): void;
  readonly awaitPeers: NodeNetwork['awaitPeers'];
}

/** Probes the peers while it runs, and leaves those that are silent out of the tables of Services. */
export function createPeerWatch({ state, tables, filter, log }: PeerWatchDeps): PeerWatch {
  const health = createPeerHealth();
  const id = process.pid & 0xffff;
  let open: { readonly address: string; readonly socket: EchoSocket } | undefined;
  let [sent, answered, silences] = [0, 0, 0];
  let ownRevision = 0;
  /** The silent ones that the tables are known to be without. */
  let leftOut: ReadonlySet<string> = new Set();

  const close = (): void => {
    open?.socket[Symbol.dispose]();
    open = undefined;
  };
  const socketAt = (address: string): EchoSocket => {
    if (open?.address !== address) {
      close();
      open = { address, socket: openEchoSocket(address) };
    }
    return open.socket;
  };
  /** Before the verdict: what came while this process was busy came in time. */
  const takeMessages = (socket: EchoSocket): void => {
    for (const { kind, from, id: of, payload } of socket.receive()) {
      const revision = decodeRevision(payload);
      if (revision === undefined) continue;
      if (kind === 'request') health.noteRevision(from, revision, performance.now());
      if (kind !== 'reply' || of !== id) continue;
      answered += 1;
      health.noteAnswer(from);
    }
  };
  const probeEveryMs = (): number => Math.max(PROBE_MS, health.peers().length * PROBE_MS_PER_PEER);
  const probe = (socket: EchoSocket, isCounted = true): void => {
    const payload = encodeRevision(ownRevision);
    for (const ip of health.peers()) {
      try {
        socket.request(ip, id, payload);
      } catch (err) {
        // It never left this host: that says nothing of the peer.
        log.debug({ peer: ip, err }, 'failed to send a probe');
        continue;
      }
      sent += 1;
      if (isCounted) health.noteProbe(ip);
    }
  };
  const judge = async (): Promise<void> => {
    const silent = health.silent();
    const fallen = [...silent].filter((ip) => !leftOut.has(ip));
    const back = [...leftOut].filter((ip) => !silent.has(ip));
    if (fallen.length + back.length === 0) return;
    state.silentPeers = silent;
    await tables.settled();
    await tables.syncServices();
    // Whoever knocks there now tries again in a second, and is led to another node then.
    if (fallen.length > 0) forgetUnanswered(filter, silentAddresses(state));
    leftOut = silent;
    silences += fallen.length;
    if (fallen.length > 0)
      log.warn({ peers: fallen }, 'nodes do not answer on the ingress network: clients are sent to others');
    if (back.length > 0) log.info({ peers: back }, 'nodes count again');
  };
  const look = async (): Promise<void> => {
    const ingress = ingressOf(state);
    health.setPeers(ingress?.peers.map(({ ip }) => ip) ?? []);
    if (!ingress) close();
    const socket = ingress && socketAt(ingress.ip);
    if (socket) takeMessages(socket);
    try {
      await judge();
    } finally {
      // While the tables changed, the ingress network may have changed as well.
      if (socket && open?.socket === socket) probe(socket);
    }
  };

  return {
    async run(signal) {
      try {
        while (!signal.aborted) {
          const waitMs = await look().then(probeEveryMs, (err: unknown) => {
            log.debug({ err }, 'failed to probe the other nodes, or to leave the silent ones out');
            return RETRY_MS;
          });
          await sleep(waitMs, undefined, { signal });
        }
      } catch (error) {
        if (!isAbort(error)) throw error;
      } finally {
        close();
      }
    },
    counts: () => ({ ...health.counts(), sent, answered, silences }),
    tell(revision) {
      if (revision <= ownRevision) return;
      ownRevision = revision;
      // Several of these may come close together: their answers could not be there when the next verdict is made.
      if (open) probe(open.socket, false);
    },
    async awaitPeers(revision, timeoutMs) {
      const until = performance.now() + timeoutMs;
      for (;;) {
        if (open) takeMessages(open.socket);
        const heardMs = Math.max(HEARD_MS, HEARD_PROBES * probeEveryMs());
        const behind = health.behind(revision, performance.now() - heardMs);
        if (behind.length === 0 || performance.now() >= until) return behind;
        await sleep(AWAIT_LOOK_MS);
      }
    },
  };
}

function encodeRevision(revision: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(revision));
  return Buffer.concat([MAGIC, bytes]);
}

/** Undefined for what no shim has sent. */
function decodeRevision(payload: Buffer): number | undefined {
  if (payload.length !== MAGIC.length + 8 || !payload.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  return Number(payload.readBigUInt64BE(MAGIC.length));
}
