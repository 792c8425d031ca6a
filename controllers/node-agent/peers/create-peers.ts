// The images of other nodes for this one, and those of this node for others, composed of their parts.
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { ApiClient } from '../../../client/client.ts';
import type { Connection } from '../../../client/kubeconfig.ts';
import { nodeKind, type Node } from '../../../crds/builtin.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Instance } from '../../../lib/instance.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Registry } from '../../../lib/metrics.ts';
import type { RunPart } from '../../../lib/run-all.ts';
import type { NodeRuntime } from '../runtime/node-runtime.ts';
import type { AgentServerOptions } from '../server/agent-server.ts';
import type { SharedBlob } from '../server/blobs.ts';
import { createPeerFinder } from './find-peers.ts';
import { createPeerClient, type PeerClient } from './peer-client.ts';
import { createPeerMetrics } from './peer-metrics.ts';
import { createPeerNodes } from './peer-nodes.ts';
import { createPeerSocket } from './peer-socket.ts';

export interface Peers {
  /** Where the runtime asks for other nodes. */
  readonly socketPath: string;
  /** For the agent's listener: what it gives to other nodes, and to which. */
  readonly served: Pick<AgentServerOptions, 'admit' | 'findBlob' | 'onSent'>;
  /** A blob from one of these nodes, or of others that have it; undefined when none answers. Not verified. */
  openBlob(digest: string, first: readonly string[], signal: AbortSignal): Promise<IncomingMessage | undefined>;
  listen(): Promise<void>;
  readonly setCredentials: PeerClient['setCredentials'];
  readonly part: RunPart;
}

/** Nothing listens before listen(). */
export function createPeers(deps: {
  readonly client: ApiClient;
  readonly connection: Pick<Connection, 'cert' | 'key'>;
  readonly tls: { readonly ca: string };
  readonly instance: Instance;
  readonly nodeName: string;
  readonly runtime: Pick<NodeRuntime, 'findBlob'>;
  /** What other nodes may have besides the blobs of images. */
  readonly findArchiveBlob: (digest: string) => Promise<SharedBlob | undefined>;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Logger;
}): Peers {
  const { clock, nodeName, connection } = deps;
  const { cert = '', key = '' } = connection;
  const metrics = createPeerMetrics(deps.registry);
  const nodes = createPeerNodes({ client: deps.client.kind<Node>(nodeKind), nodeName, clock });
  const client = createPeerClient({ cert, key, ca: deps.tls.ca });
  const finder = createPeerFinder({ nodes, client, clock });
  const findBlob = async (digest: string): Promise<SharedBlob | undefined> =>
    (await deps.runtime.findBlob(digest)) ?? (await deps.findArchiveBlob(digest));
  const socketPath = join(deps.instance.run, 'agent', 'peers.sock');
  const socket = createPeerSocket({ path: socketPath, finder, client, onLook: metrics.onLook, log: deps.log });
  return {
    socketPath,
    served: { admit: nodes.admit, findBlob, onSent: metrics.onSent },
    async openBlob(digest, first, signal) {
      for (const nodeName of await finder.find(digest, first, signal)) {
        try {
          const address = await finder.addressOf(nodeName, signal);
          const answer = address && (await client.open(address, digest, { range: undefined, signal }));
          if (answer?.statusCode === 200) return answer;
          // However much it wants to say.
          answer?.destroy();
        } catch (err) {
          signal.throwIfAborted();
          finder.noteSilence(nodeName);
          deps.log.debug({ err, node: nodeName, digest }, 'a peer did not help');
        }
      }
      return undefined;
    },
    listen: socket.listen,
    setCredentials: client.setCredentials,
    part: {
      name: 'peers',
      async run(signal) {
        await socket.run(signal);
        client.close();
      },
    },
  };
}
