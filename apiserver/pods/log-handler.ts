// GET pods/{name}/log: the agent's answer, streamed through.
import type { IncomingMessage } from 'node:http';
import type { AgentAddress } from '../../crds/agent-address.ts';
import { WindlassError } from '../../lib/errors.ts';
import { invalid } from '../routes/api-errors.ts';
import type { FieldError } from '../schema/field-error.ts';
import type { SubresourceHandler, SubresourceResponse } from '../resources/subresource.ts';
import type { ResourceStore } from '../storage/resource-store.ts';
import type { AgentConnections } from './agent-connection.ts';
import { agentError } from './agent-error.ts';
import { findTarget } from './find-target.ts';
import { readBody } from './read-body.ts';

const PASSED_ON = ['follow', 'previous', 'timestamps', 'tailLines', 'limitBytes', 'sinceSeconds', 'sinceTime'];

/** An agent says in a sentence why it has no log. */
const MAX_REFUSAL_BYTES = 64 * 1024;

/** The handler. */
export function createLogHandler(store: Pick<ResourceStore, 'get'>, agents: AgentConnections): SubresourceHandler {
  return {
    group: '',
    version: 'v1',
    plural: 'pods',
    name: 'log',
    verbs: ['get'],
    async handle(request) {
      checkLogOptions(request.query);
      const { container, address } = await findTarget(store, request);
      const { namespace = '', name } = container.metadata;
      return passLog(agents, address, ['containerLogs', namespace, name, name], request.query, request.signal);
    },
  };
}

/** The log at `path` of an agent, as it answers it to the options in `query`. Throws what the agent refuses with. */
export async function passLog(
  agents: Pick<AgentConnections, 'get'>,
  address: AgentAddress,
  path: readonly string[],
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<SubresourceResponse> {
  const stream = query.get('stream');
  if (stream && stream !== 'All') {
    throw new WindlassError('BadRequest', `stream ${stream} is not supported by this version of windlass: only All`);
  }
  const options = new URLSearchParams(
    PASSED_ON.flatMap((key) => query.getAll(key).map((value): [string, string] => [key, value])),
  );
  const response = await agents.get(address, `/${path.map(encodeURIComponent).join('/')}?${options}`, signal);
  if (response.statusCode !== 200)
    throw agentError(response.statusCode ?? 502, await readBody(response, MAX_REFUSAL_BYTES));
  return { status: 200, contentType: 'text/plain', body: readAll(response), mayStall: true };
}

/** The least value of each option that is a number. */
const LEAST = { tailLines: 0, sinceSeconds: 1, limitBytes: 1 } as const;

/** Throws Invalid in upstream's words for options that cannot be met. */
export function checkLogOptions(query: URLSearchParams): void {
  const errors: FieldError[] = [];
  for (const [field, least] of Object.entries(LEAST)) {
    const value = query.get(field);
    if (value === null || (/^\d{1,15}$/.test(value) && Number(value) >= least)) continue;
    const detail = `must be greater than ${least === 0 ? 'or equal to ' : ''}0`;
    errors.push({ type: 'FieldValueInvalid', field, value, detail });
  }
  if (query.get('sinceSeconds') && query.get('sinceTime')) {
    const detail = 'at most one of `sinceTime` or `sinceSeconds` may be specified';
    errors.push({ type: 'FieldValueForbidden', field: '', detail });
  }
  if (errors.length > 0) throw invalid({ group: '', kind: 'PodLogOptions' }, '', errors);
}

async function* readAll(response: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response) yield chunk as Buffer;
  } finally {
    response.destroy();
  }
}
