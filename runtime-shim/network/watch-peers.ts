// Notices nodes that fall silent, long before their lease runs out. Every node asks every other one over the ingress
// network, the way that published ports take; the other kernel answers, whatever its processes do. It is this node's own
// choice alone: nothing is written anywhere.
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
const PAYLOAD = Buffer.from('windlass peer probe.');

export interface PeerWatchDeps {
  readonly state: NetworkState;
  readonly tables: Pick<Tables, 'settled' | 'syncServices'>;
  readonly filter: NetlinkSocket;
  readonly log: Logger;
}

export interface PeerWatch {
  run(signal: AbortSignal): Promise<void>;
  readonly counts: NodeNetwork['probes'];
}

/** Probes the peers while it runs, and leaves those that are silent out of the tables of Services. */
export function createPeerWatch({ state, tables, filter, log }: PeerWatchDeps): PeerWatch {
  const health = createPeerHealth();
  const id = process.pid & 0xffff;
  let open: { readonly address: string; readonly socket: EchoSocket } | undefined;
  let [sent, answered, silences] = [0, 0, 0];

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
  const takeAnswers = (socket: EchoSocket): void => {
    for (const { kind, from, id: of, payload } of socket.receive()) {
      if (kind !== 'reply' || of !== id || !payload.equals(PAYLOAD)) continue;
      answered += 1;
      health.noteAnswer(from);
    }
  };
  const probe = (socket: EchoSocket): void => {
    for (const ip of health.peers()) {
      try {
        socket.request(ip, id, PAYLOAD);
      } catch (err) {
        // It never left this host: that says nothing of the peer.
        log.debug({ peer: ip, err }, 'failed to send a probe');
        continue;
      }
      sent += 1;
      health.noteProbe(ip);
    }
  };
  const judge = async (): Promise<void> => {
    const silent = health.silent();
    const before = state.silentPeers;
    const fallen = [...silent].filter((ip) => !before.has(ip));
    const back = [...before].filter((ip) => !silent.has(ip));
    if (fallen.length + back.length === 0) return;
    silences += fallen.length;
    if (fallen.length > 0)
      log.warn({ peers: fallen }, 'nodes do not answer on the ingress network: clients are sent to others');
    if (back.length > 0) log.info({ peers: back }, 'nodes count again');
    state.silentPeers = silent;
    await tables.settled();
    await tables.syncServices();
    // Whoever knocks there now tries again in a second, and is led to another node then.
    if (fallen.length > 0) forgetUnanswered(filter, silentAddresses(state));
  };
  const look = async (): Promise<void> => {
    const ingress = ingressOf(state);
    health.setPeers(ingress?.peers.map(({ ip }) => ip) ?? []);
    if (!ingress) close();
    const socket = ingress && socketAt(ingress.ip);
    if (socket) takeAnswers(socket);
    await judge();
    // While the tables changed, the ingress network may have changed as well.
    if (socket && open?.socket === socket) probe(socket);
  };

  return {
    async run(signal) {
      try {
        while (!signal.aborted) {
          const waitMs = await look().then(
            () => Math.max(PROBE_MS, health.peers().length * PROBE_MS_PER_PEER),
            (err: unknown) => {
              log.debug({ err }, 'failed to probe the other nodes');
              return RETRY_MS;
            },
          );
          await sleep(waitMs, undefined, { signal });
        }
      } catch (error) {
        if (!isAbort(error)) throw error;
      } finally {
        close();
      }
    },
    counts: () => ({ ...health.counts(), sent, answered, silences }),
  };
}
