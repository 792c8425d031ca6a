// The extension point for what is sent as bytes, not as an object: the body of a POST to a collection, streamed. The server
// has authenticated and authorised before it calls; nobody else creates objects of that kind.
import type { User } from '../auth/user.ts';

export interface UploadRequest {
  readonly user: User;
  readonly namespace: string;
  readonly query: URLSearchParams;
  /** As far as the client says it. */
  readonly sizeBytes: number | undefined;
  readonly body: AsyncIterable<Buffer>;
  /** Fires when the client leaves, stops to send, or the server stops. */
  readonly signal: AbortSignal;
}

export interface UploadHandler {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  /** Takes in the body and answers the object that was made of it. Throws WindlassError to answer a Status. */
  handle(request: UploadRequest): Promise<object>;
}
