// GET /containerLogs: the log of a container's present run, or of the one before.
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isAbort, WindlassError } from '../../../lib/errors.ts';
import type { Lister } from '../cluster.ts';
import type { Container } from '../../../crds/container.ts';
import { listAttempts, logDirectoryName } from '../logs/log-files.ts';
import { parseLogOptions, type LogOptions } from '../logs/log-options.ts';
import { readLog, type LogSource } from '../logs/read-log.ts';
import type { RuntimeCache } from '../runtime/runtime-cache.ts';

export interface LogDeps {
  readonly containers: Pick<Lister<Container>, 'get'>;
  readonly cache: RuntimeCache;
  readonly podLogs: string;
}

export interface AgentTarget {
  readonly namespace: string;
  readonly name: string;
  readonly container: string;
}

/** Streams the log. Throws before anything is sent when there is none. */
export async function serveLogs(
  deps: LogDeps,
  target: AgentTarget,
  query: URLSearchParams,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const options = parseLogOptions(query, Date.now());
  const container = requireContainer(deps.containers, target);
  const { name, namespace = '', uid = '' } = container.metadata;
  const directory = join(deps.podLogs, logDirectoryName(namespace, name, uid), name);
  const attempt = pickAttempt(deps, container, await listAttempts(directory), options.previous);
  // The present run may end and the next begin while a reader follows: it stays with this attempt.
  const isRunning = (): boolean =>
    deps.cache.viewOf(uid).containers.some((run) => run.attempt === attempt && run.state === 'Running');
  await streamLog({ directory, attempt, isRunning, subscribe: deps.cache.onChange }, options, response, signal);
}

/** Answers with what `source` has, and gets. */
export async function streamLog(
  source: LogSource,
  options: LogOptions,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  response.writeHead(200, { 'Content-Type': 'text/plain' });
  response.flushHeaders();
  try {
    await pipeline(Readable.from(readLog(source, options, signal)), response, { signal });
  } catch (error) {
    if (!isAbort(error) && !signal.aborted) throw error;
  }
}

function pickAttempt(deps: LogDeps, container: Container, attempts: readonly number[], previous: boolean): number {
  const { name, uid = '' } = container.metadata;
  const current = deps.cache.viewOf(uid).containers[0];
  const newest = current && current.startedAtMs > 0 ? current.attempt : attempts.at(-1);
  if (newest === undefined) {
    const ready = container.status?.conditions?.find(({ type }) => type === 'Ready');
    const why = ready ? `: ${ready.reason}: ${ready.message}` : '';
    throw new WindlassError('BadRequest', `container "${name}" is waiting to start${why}`);
  }
  if (!previous) return newest;
  const before = attempts.filter((attempt) => attempt < newest).at(-1);
  if (before === undefined) {
    throw new WindlassError('BadRequest', `previous terminated container "${name}" not found`);
  }
  return before;
}

/** The Container a request is about; the one container in a pod has the pod's name. */
export function requireContainer(containers: Pick<Lister<Container>, 'get'>, target: AgentTarget): Container {
  const container = containers.get(target.namespace, target.name);
  if (!container)
    throw new WindlassError('NotFound', `container "${target.namespace}/${target.name}" is not on this node`);
  if (target.container !== target.name) {
    throw new WindlassError('BadRequest', `container ${target.container} is not valid for pod ${target.name}`);
  }
  return container;
}
