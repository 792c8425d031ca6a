import type { WebSocket } from 'ws';
import { getRunningContainer } from '../rpc/lookup.ts';
import type { Shim } from '../rpc/deps.ts';
import { startExec } from './exec-process.ts';
import { serveExec, type ExecTarget } from './exec-session.ts';

/** Runs an accepted exec; the container is looked up again, for it may have ended since the URL was made. */
export function serveExecRequest(shim: Shim, socket: WebSocket, target: ExecTarget): void {
  serveExec(socket, target, () => {
    const { id, bundle } = getRunningContainer(shim, target.containerId);
    return startExec(shim.spawner, shim.runtime, {
      ...target,
      containerId: id,
      bundle,
      monitorPath: shim.execMonitorPath,
    });
  }).catch((error: unknown) => {
    shim.log.error({ container: target.containerId, err: error }, 'exec failed');
    socket.terminate();
  });
}
