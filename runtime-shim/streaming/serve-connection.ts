// From an accepted connection to what its URL stands for.
import { messageOf, WindlassError } from '../../lib/errors.ts';
import { connectToLoopback } from '../host/loopback.ts';
import type { Shim } from '../rpc/deps.ts';
import { getAttachableContainer, getReadySandbox, getRunningContainer } from '../rpc/lookup.ts';
import type { Attachments } from './attachments.ts';
import type { ClientStreams, StreamSet } from './client-streams.ts';
import { startExec } from './exec-process.ts';
import { serveExec } from './exec-session.ts';
import { servePortForwardSpdy, type ConnectToPort } from './port-forward-spdy.ts';
import { servePortForwardWebSocket } from './port-forward-websocket.ts';
import type { Connection } from './server.ts';
import { openSpdyClient } from './spdy-client.ts';
import type { ExecTarget, PortForwardTarget, StreamTarget } from './targets.ts';
import { createWebSocketClient } from './websocket-client.ts';

export interface ConnectionDeps {
  readonly shim: Shim;
  readonly attachments: Attachments;
}

/** Serves the connection; whatever happens, it and what belongs to it are gone in the end. */
export function serveConnection(deps: ConnectionDeps, connection: Connection, target: StreamTarget): void {
  serve(deps, connection, target).catch((error: unknown) => {
    const fields = { kind: target.kind, of: target.kind === 'portforward' ? target.sandboxId : target.containerId };
    if (error instanceof WindlassError) deps.shim.log.debug({ ...fields, error: messageOf(error) }, 'stream refused');
    else deps.shim.log.error({ ...fields, err: error }, 'stream failed');
    if (connection.transport === 'websocket') connection.socket.terminate();
    else connection.socket.destroy();
  });
}

/** The container or sandbox is looked up again: it may have ended since the URL was made. */
async function serve({ shim, attachments }: ConnectionDeps, connection: Connection, target: StreamTarget) {
  switch (target.kind) {
    case 'exec': {
      const client = await openClient(connection, target);
      await serveExec(client, target.tty, () => startInContainer(shim, target));
      return;
    }
    case 'attach': {
      const client = await openClient(connection, target);
      await attachments.attach(client, () => getAttachableContainer(shim, target.containerId));
      return;
    }
    case 'portforward': {
      const connect = connectorOf(shim, target);
      if (connection.transport === 'spdy') await servePortForwardSpdy(connection.socket, connect);
      else await servePortForwardWebSocket(connection.socket, target.ports, connect);
    }
  }
}

async function openClient(connection: Connection, streams: StreamSet): Promise<ClientStreams> {
  return connection.transport === 'spdy'
    ? openSpdyClient(connection.socket, connection.protocol, streams)
    : createWebSocketClient(connection.socket, connection.protocol, streams);
}

function startInContainer(shim: Shim, target: ExecTarget): ReturnType<typeof startExec> {
  const { id, bundle } = getRunningContainer(shim, target.containerId);
  shim.moves.prime();
  return startExec(shim.spawner, shim.runtime, {
    ...target,
    containerId: id,
    bundle,
    specs: shim.specs,
    monitorPath: shim.execMonitorPath,
  });
}

function connectorOf(shim: Shim, { sandboxId, ports }: PortForwardTarget): ConnectToPort {
  return async (port) => {
    if (ports.length > 0 && !ports.includes(port)) {
      throw new WindlassError('Forbidden', `port ${port} is not among those that may be forwarded`);
    }
    const { namespaces } = getReadySandbox(shim, sandboxId);
    try {
      return await connectToLoopback(namespaces.net, port);
    } catch (error) {
      throw new WindlassError(
        'Unavailable',
        `failed to connect to port ${port} of sandbox ${sandboxId}: ${messageOf(error)}`,
        { cause: error },
      );
    }
  };
}
