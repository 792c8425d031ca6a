// The extension point for what the generic verbs cannot express: streams and actions below one object, such as a
// Pod's log and exec. A part registers handlers; the server has authenticated, authorised and parsed before it calls.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { RequestContext } from './resource.ts';

/** One call of a subresource. */
export interface SubresourceRequest {
  readonly user: RequestContext['user'];
  readonly method: string;
  readonly namespace: string;
  readonly name: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The request's body as sent; empty for GET. */
  readonly body: Buffer;
  /** Fires when the client leaves or the server stops. */
  readonly signal: AbortSignal;
}

/** What a handler answers: a whole body, or chunks that are sent as they come. */
export interface SubresourceResponse {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Buffer | AsyncIterable<Uint8Array | string>;
  /** The client may stop reading for as long as it likes: a log in a pager. Other streams are cut. */
  readonly mayStall?: boolean;
}

export interface SubresourceHandler {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  /** `log`, `exec`, `eviction`, ... */
  readonly name: string;
  /** The verbs this handler answers, as authorisation sees them (`get`, `create`). */
  readonly verbs: readonly string[];
  /** Answers an ordinary request. Throws WindlassError to answer a Status. */
  handle?(request: SubresourceRequest): Promise<SubresourceResponse>;
  /**
   * Takes over the connection of an HTTP/1.1 upgrade request. Throws WindlassError before it wrote anything to have the server
   * answer a Status; after that the socket is the handler's.
   */
  upgrade?(request: SubresourceRequest, message: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>;
}
