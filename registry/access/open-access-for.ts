// The access that the flags ask for, and the token server that belongs to it.
import type { IncomingMessage } from 'node:http';
import { hostname } from 'node:os';
import { createApiClient } from '../../client/api-client.ts';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { createLeaseRenewer, metricsLease } from '../../client/lease.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { Registry } from '../../lib/metrics.ts';
import type { RunPart } from '../../lib/run-all.ts';
import type { Config } from '../config.ts';
import type { Answer } from '../routes/call.ts';
import { openAccess, type Access } from './access.ts';
import { createClusterAccess } from './cluster-access.ts';
import { createReviews } from './reviews.ts';
import { createTokenKey } from './token-key.ts';
import { answerTokenRequest } from './token-server.ts';

export interface OpenedAccess extends AsyncDisposable {
  readonly access: Access;
  /** Says where the metrics are, to the API server that is asked. */
  readonly parts: readonly RunPart[];
  readonly answerToken: ((request: IncomingMessage, query: URLSearchParams) => Promise<Answer>) | undefined;
}

interface AccessDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly registry: Registry;
  readonly metricsAddress: string;
}

/** Opens it; the API server is not asked before the first request. */
export function openAccessFor(
  config: Readonly<Config>,
  { clock, log, registry, metricsAddress }: AccessDeps,
): OpenedAccess {
  if (config.access === 'open' || config.kubeconfig === undefined) {
    return { access: openAccess, parts: [], answerToken: undefined, [Symbol.asyncDispose]: () => Promise.resolve() };
  }
  const client = createApiClient(readKubeconfig(config.kubeconfig), { userAgent: 'windlass-registry', registry });
  const tokens = createTokenKey(clock);
  const access = createClusterAccess({ reviews: createReviews(client), tokens, clock }, config);
  return {
    access,
    parts: [createLeaseRenewer({ client, clock, log }, metricsLease('registry', metricsAddress, hostname()))],
    answerToken: (request, query) => answerTokenRequest({ access, tokens, clock }, request, query),
    [Symbol.asyncDispose]: () => client.close(),
  };
}
