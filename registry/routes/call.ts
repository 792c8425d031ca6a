// One request and its answer, free of the HTTP server that carries them.
import type { IncomingHttpHeaders } from 'node:http';
import type { FileBody } from '../../lib/send-file.ts';
import type { Caller } from '../access/access.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { RegistryStore } from '../store/registry-store.ts';
import type { Uploads } from '../store/uploads.ts';

export interface Call {
  readonly method: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: AsyncIterable<Buffer>;
  readonly caller: Caller;
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | number | readonly string[]>>;
  readonly body?: Buffer | string | FileBody | AsyncIterable<Buffer> | undefined;
}

export interface RouteDeps {
  readonly store: RegistryStore;
  readonly uploads: Uploads;
  /** Set for a registry that is the cache of another: it fetches what it lacks, and takes nothing else. */
  readonly upstream?: Upstream | undefined;
  readonly rules: RegistryRules;
}

export interface RegistryRules {
  /** Take manifests whose config or layers are not in the repository. */
  readonly allowSparse: boolean;
  /** Answer DELETE; false = 405. */
  readonly allowDelete: boolean;
  /** Most bytes that the whole store may take; 0 = any. */
  readonly maxBytes: number;
  /** Most bytes that one repository may be linked to; 0 = any. */
  readonly maxRepositoryBytes: number;
}

export const JSON_TYPE = { 'content-type': 'application/json' } as const;

/** The header that names the content of an answer. */
export const digestHeader = (digest: string) => ({ 'docker-content-digest': digest });
