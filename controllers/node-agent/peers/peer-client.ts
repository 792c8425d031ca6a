// Asks the agents of other nodes for blobs, each verified to be the agent of the node it is asked as.
import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { identifyAgent, type AgentAddress } from '../../../crds/agent-address.ts';
import { messageOf, WindlassError } from '../../../lib/errors.ts';

/** For a connection and the head of an answer. */
const ANSWER_MS = 3000;
/** Between two pieces of a blob. */
const STALL_MS = 10_000;

export interface PeerTls {
  readonly cert: string;
  readonly key: string;
  /** The authority that signed the agents' certificates. */
  readonly ca: string;
}

export interface PeerClient {
  /** Whether the node has the blob. Throws Unavailable when it does not say in time. */
  has(address: AgentAddress, digest: string, signal: AbortSignal): Promise<boolean>;
  /**
   * The answer to GET, whatever its status, and its body, which ends with an error when nothing comes for a while.
   * `range` is a Range header. Throws Unavailable when nobody answers in time.
   */
  open(
    address: AgentAddress,
    digest: string,
    options: { readonly range: string | undefined; readonly signal: AbortSignal },
  ): Promise<IncomingMessage>;
  /** What is shown from now on; connections that are open stay as they are. */
  setCredentials(pair: { readonly cert: string; readonly key: string }): void;
  close(): void;
}

/** A client whose connections stay open between requests. */
export function createPeerClient(tls: PeerTls): PeerClient {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 16 });
  let own = tls;

  function send(
    method: 'GET' | 'HEAD',
    { nodeName, host, port }: AgentAddress,
    digest: string,
    { range, signal }: { readonly range?: string | undefined; readonly signal: AbortSignal },
  ): Promise<IncomingMessage> {
    const late = AbortSignal.timeout(ANSWER_MS);
    return new Promise((resolve, reject) => {
      const request = httpsRequest({
        ...{ agent, method, host, port, path: `/blobs/${digest}` },
        ...{ cert: own.cert, key: own.key, ca: own.ca },
        ...identifyAgent(nodeName),
        headers: range === undefined ? {} : { range },
      });
      const onAbort = (): void => void request.destroy(new Error(signal.aborted ? 'given up' : 'no answer in time'));
      const stops = [signal, late];
      for (const stop of stops) stop.addEventListener('abort', onAbort, { once: true });
      request.once('close', () => signal.removeEventListener('abort', onAbort));
      request.once('error', (cause) => {
        late.removeEventListener('abort', onAbort);
        reject(
          signal.aborted
            ? (signal.reason as Error)
            : new WindlassError(
                'Unavailable',
                `the agent of node "${nodeName}" at ${host}:${port} cannot be reached: ${messageOf(cause)}`,
                { cause },
              ),
        );
      });
      request.once('response', (response) => {
        late.removeEventListener('abort', onAbort);
        request.setTimeout(STALL_MS, () => request.destroy(new Error('nothing came for a while')));
        resolve(response);
      });
      if (stops.some(({ aborted }) => aborted)) onAbort();
      request.end();
    });
  }

  return {
    async has(address, digest, signal) {
      const response = await send('HEAD', address, digest, { signal });
      response.resume();
      return response.statusCode === 200;
    },
    open: (address, digest, options) => send('GET', address, digest, options),
    setCredentials(pair) {
      own = { ...pair, ca: tls.ca };
    },
    close: () => agent.destroy(),
  };
}
