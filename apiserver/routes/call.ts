// One API request on its way through the verbs, and what the verbs answer.
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { Authorize } from '../auth/authorizer.ts';
import type { ResourceRegistry } from '../resources/registry.ts';
import type { RequestContext, Resource } from '../resources/resource.ts';
import type { ResourceStore } from '../storage/resource-store.ts';
import type { ResourcePath } from './resource-path.ts';

/** What the verbs work with. */
export interface ApiDeps {
  readonly store: ResourceStore;
  readonly registry: ResourceRegistry;
  readonly clock: Clock;
  readonly log: Logger;
  readonly authorize: Authorize;
  /** False until the resources and roles of the store are known: what is unknown now may be served in a moment. */
  readonly isServing: () => boolean;
  /** Told how many events a watch sent, and of how many bytes. */
  readonly countWatchEvents?: (resource: Resource, count: number, bytes: number) => void;
}

export interface Call {
  readonly resource: Resource;
  readonly path: ResourcePath;
  readonly context: RequestContext;
  readonly query: URLSearchParams;
  readonly accept: string;
  /** Without parameters, lower-case; `application/json` when the client said nothing. */
  readonly contentType: string;
  readonly body: Buffer;
  readonly signal: AbortSignal;
  /** Texts for Warning headers, added on the way. */
  readonly warnings: string[];
}

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Buffer | AsyncIterable<Buffer | string | Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
  /** The client may stop reading for as long as it likes: a log in a pager. Other streams are cut. */
  readonly mayStall?: boolean;
}

export function jsonAnswer(status: number, data: unknown): Answer {
  return { status, contentType: 'application/json', body: JSON.stringify(data) };
}
