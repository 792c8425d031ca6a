// Whether somebody listens at the peer URL of a member: one that has lost its store does not.
import { connect } from 'node:net';

const TIMEOUT_MS = 2_000;

/** False as well when nothing is heard from there in time. */
export async function isListening(peerUrl: string): Promise<boolean> {
  const { hostname, port } = new URL(peerUrl);
  const socket = connect({ host: hostname.replaceAll(/[[\]]/g, ''), port: Number(port || 443) });
  try {
    return await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.setTimeout(TIMEOUT_MS, () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}
