// POST of bytes to a collection: a route of its own, whose body is not read into memory before somebody wants it.
import type { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { UploadHandler } from '../resources/upload.ts';
import { WindlassError } from '../../lib/errors.ts';
import { classify } from '../flowcontrol/classify.ts';
import { notServedYet, pathNotFound } from './api-errors.ts';
import { GONE, requireUser, send, statusAnswer, urlOf, type ApiRouteOptions } from './api.ts';
import { jsonAnswer, type Answer } from './call.ts';
import { attributesOf } from './dispatch.ts';
import { isDryRun, optionInvalid } from './request-options.ts';
import { parseResourcePath } from './resource-path.ts';

/** How long the sender of a body may send nothing. */
const STALL_MS = 60_000;

/** Marks the routes that read their body themselves, at the client's pace. */
export const UPLOAD_ROUTE = { isUpload: true } as const;

/** Adds the route of `handler`. To be called before the server listens. */
export function registerUpload(app: FastifyInstance, options: ApiRouteOptions, handler: UploadHandler): void {
  const { group, version, plural } = handler;
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    scope.post(
      `/apis/${group}/${version}/namespaces/:namespace/${plural}`,
      { config: UPLOAD_ROUTE, bodyLimit: Number.MAX_SAFE_INTEGER },
      (request, reply) => take(options, handler, request, reply),
    );
  });
}

async function take(
  options: ApiRouteOptions,
  handler: UploadHandler,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const user = requireUser(request);
  const url = urlOf(request.url);
  const path = parseResourcePath(url.pathname);
  if (!path) throw pathNotFound();
  const labels = { verb: 'POST', dry_run: '', group: path.group, version: path.version, resource: path.plural };
  const finish = options.metrics.start({ ...labels, subresource: 'upload', scope: 'namespace' });
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort(GONE));
  const body = request.body as Readable;
  let answer: Answer;
  try {
    if (!options.dispatcher.isServed(path)) throw notServedYet();
    options.dispatcher.checkAllowed(user, path, 'create');
    if (isDryRun(url.searchParams.getAll('dryRun'))) {
      throw optionInvalid('dryRun', 'All', 'FieldValueNotSupported', 'bytes cannot be sent for a trial');
    }
    const signal = AbortSignal.any([gone.signal, options.stopping]);
    // Its beginning is work that others wait for; how long it goes on is the client's affair.
    const leave = await options.flowControl.admit(
      classify(user, attributesOf(path, 'create'), { isNamed: false }),
      signal,
    );
    leave();
    const { namespace } = path;
    const sizeBytes = sizeOf(request.headers['content-length']);
    const made = await handler.handle({
      user,
      namespace,
      query: url.searchParams,
      sizeBytes,
      body: withinTime(body, options.patience?.stallMs ?? STALL_MS),
      signal,
    });
    answer = jsonAnswer(201, made);
  } catch (error) {
    // What the client has not sent yet would be taken for its next request.
    answer = { ...statusAnswer(options, error, request), ...closing(request) };
  }
  try {
    await send(options, request, reply, answer, [], gone.signal);
  } finally {
    finish(answer.status);
    if (!body.readableEnded) body.destroy();
  }
}

const closing = (request: FastifyRequest): Pick<Answer, 'headers'> =>
  request.raw.httpVersionMajor === 1 ? { headers: { Connection: 'close' } } : {};

function sizeOf(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

/** The body, which ends with an error when its next piece does not come in time. A slow reader costs it nothing. */
async function* withinTime(body: Readable, limitMs: number): AsyncGenerator<Buffer> {
  const late = (): void => void body.destroy(new WindlassError('Timeout', 'nothing of the body came in time'));
  let timer = setTimeout(late, limitMs);
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      clearTimeout(timer);
      yield chunk;
      timer = setTimeout(late, limitMs);
    }
  } finally {
    clearTimeout(timer);
  }
}
