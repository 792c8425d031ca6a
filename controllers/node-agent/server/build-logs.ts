// GET /buildLogs: the log of an Image's present or last build, or of the one before.
import type { ServerResponse } from 'node:http';
import type { Image } from '../../../crds/image.ts';
import { WindlassError } from '../../../lib/errors.ts';
import { buildLogFolder } from '../builds/build-log.ts';
import type { ImageBuilder } from '../builds/image-builder.ts';
import type { Lister } from '../cluster.ts';
import { listAttempts } from '../logs/log-files.ts';
import { parseLogOptions } from '../logs/log-options.ts';
import { streamLog, type AgentTarget } from './logs.ts';

export interface BuildLogDeps {
  readonly images: Pick<Lister<Image>, 'get'>;
  readonly builder: Pick<ImageBuilder, 'currentAttempt' | 'subscribe'>;
  readonly buildLogs: string;
}

/** Streams the log. Throws before anything is sent when there is none. */
export async function serveBuildLog(
  { images, builder, buildLogs }: BuildLogDeps,
  { namespace, name }: AgentTarget,
  query: URLSearchParams,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const options = parseLogOptions(query, Date.now());
  const image = images.get(namespace, name);
  if (!image) throw new WindlassError('NotFound', `image "${namespace}/${name}" is not known on this node`);
  const uid = image.metadata.uid ?? '';
  const directory = buildLogFolder(buildLogs, { namespace, name, uid });
  const attempts = await listAttempts(directory);
  const attempt = options.previous ? attempts.at(-2) : attempts.at(-1);
  if (attempt === undefined) {
    const ready = image.status?.conditions?.find(({ type }) => type === 'Built');
    const why = ready && !options.previous ? `: ${ready.reason}: ${ready.message}` : '';
    throw new WindlassError(
      'BadRequest',
      `image "${name}" has no log of a ${options.previous ? 'build before' : 'build'}${why}`,
    );
  }
  const isRunning = (): boolean => builder.currentAttempt(uid) === attempt;
  await streamLog({ directory, attempt, isRunning, subscribe: builder.subscribe }, options, response, signal);
}
