// Where the agent of a Node listens, and how whoever calls it knows that it is the one.
import type { ConnectionOptions } from 'node:tls';
import { WindlassError } from '../lib/errors.ts';
import type { Node } from './builtin.ts';
import { NODE_USER } from './join.ts';

export interface AgentAddress {
  readonly nodeName: string;
  readonly host: string;
  readonly port: number;
}

/**
 * The Node says itself where its agent listens: that it is the agent of that node is in the certificate, whatever address
 * it was reached at. Only the authority gives out the name of a node.
 */
export function identifyAgent(nodeName: string): Pick<ConnectionOptions, 'servername' | 'checkServerIdentity'> {
  const wanted = `${NODE_USER}${nodeName}`;
  return {
    // Also keeps the connections and sessions of one node apart from those of another at the same address.
    servername: nodeName,
    checkServerIdentity: (_host, { subject }) =>
      subject?.CN === wanted
        ? undefined
        : new Error(`its certificate is that of ${String(subject?.CN)}, not of ${wanted}`),
  };
}

/** Where the agent of `node` listens. Throws Unavailable when the Node does not say. */
export function agentAddressOf(node: Node): AgentAddress {
  const host = node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  const port = node.status?.daemonEndpoints?.kubeletEndpoint.Port;
  if (host === undefined || !port) {
    throw new WindlassError('Unavailable', `node "${node.metadata.name}" has not said yet where its agent listens`);
  }
  return { nodeName: node.metadata.name, host, port };
}
