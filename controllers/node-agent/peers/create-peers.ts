// The images of other nodes for this one, and those of this node for others, composed of their parts.
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
  const socketPath = join(deps.instance.run, 'agent', 'peers.sock');
  const socket = createPeerSocket({ path: socketPath, finder, client, onLook: metrics.onLook, log: deps.log });
  return {
    socketPath,
    served: { admit: nodes.admit, findBlob: deps.runtime.findBlob, onSent: metrics.onSent },
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
