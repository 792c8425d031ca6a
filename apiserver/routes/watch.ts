// Watches: store events through the selectors of the request, as frames of JSON.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
import { randomInt } from 'node:crypto';
import { isAbort } from '../../lib/errors.ts';
import { mapSlices } from '../../lib/slices.ts';
import { apiVersionOf, collectionOf } from '../resources/registry.ts';
import type { StoreBatch, StoreEvent } from '../storage/resource-store.ts';
import { badRequest } from './api-errors.ts';
import type { Answer, ApiDeps, Call } from './call.ts';
import { entryFilter, onlyName, selectorOf } from './list.ts';
import { chooseFormat, type Format } from './answer-format.ts';
import { partialMetadata, tableOf } from './render.ts';
import { isTrue, optionInvalid, parseRevision } from './request-options.ts';
import { serve, type Served } from './served.ts';
import { toStatus } from './status.ts';
import { topicOf } from './watch-topic.ts';

/** A quiet store says how far it is every 15 s, so that no minute passes without a bookmark. */
const BOOKMARK_MS = 44_000;
/** A watch without timeoutSeconds ends after 30 to 60 minutes, spread so that clients do not come back at once. */
const DEFAULT_LIFE_MS = 30 * 60_000;
const MAX_LIFE_MS = 60 * 60_000;
const INITIAL_EVENTS_END = 'k8s.io/initial-events-end';

interface WatchPlan {
  readonly format: Format;
  readonly bookmarks: boolean;
  readonly initialEvents: boolean;
  readonly revision: number;
  readonly lifeMs: number;
}

/** GET of a collection with watch=true. Refusals are thrown before the first byte; later failures are ERROR frames. */
export async function handleWatch(deps: ApiDeps, call: Call): Promise<Answer> {
  const plan = await planWatch(deps, call);
  const predicate = selectorOf(call);
  const filter = entryFilter(call, predicate);
  const life = new AbortController();
  const stop = AbortSignal.any([call.signal, life.signal]);
  const { path, resource } = call;
  const batches = deps.store.watch(
    collectionOf(resource),
    {
      revision: plan.revision,
      mustFollow: true,
      ...onlyName(call),
      ...topicOf(call),
      ...(path.namespace === '' ? {} : { namespace: path.namespace }),
    },
    stop,
  );
  return {
    status: 200,
    contentType: 'application/json',
    body: frames(deps, call, { plan, filter: filter ?? (() => true), batches, life, stop }),
    headers: { 'Cache-Control': 'no-cache, private' },
  };
}

async function planWatch(deps: ApiDeps, { query, accept }: Call): Promise<WatchPlan> {
  const sendInitialEvents = query.get('sendInitialEvents');
  const match = query.get('resourceVersionMatch');
  const refuse = (field: string, value: unknown, detail: string): never => {
    throw optionInvalid(field, value, 'FieldValueForbidden', detail);
  };
  if (sendInitialEvents !== null) {
    if (match !== 'NotOlderThan') {
      refuse('resourceVersionMatch', match, 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan');
    }
  } else if (match) {
    refuse(
      'resourceVersionMatch',
      match,
      'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
    );
  }
  const initialEvents = isTrue(sendInitialEvents);
  if (query.get('continue')) refuse('continue', query.get('continue'), 'continue is forbidden for watch');
  const timeoutText = query.get('timeoutSeconds');
  const timeoutSeconds = timeoutText ? Number(timeoutText) : 0;
  if (!Number.isSafeInteger(timeoutSeconds) || timeoutSeconds < 0)
    throw badRequest(`invalid timeoutSeconds: ${timeoutText}`);
  const wanted = parseRevision(query.get('resourceVersion'));
  // Without a version, or with all present objects asked for, a watch begins with the newest state as ADDED events.
  let revision = wanted ?? 0;
  if (sendInitialEvents !== null && !initialEvents && !wanted) {
    revision = await deps.store.currentRevision();
  } else if (wanted === undefined) {
    await deps.store.currentRevision();
  } else if (initialEvents && wanted > 0) {
    await deps.store.get({ group: '', plural: 'namespaces' }, '', 'default', { revision: wanted });
    revision = 0;
  }
  return {
    format: chooseFormat(accept, { tables: !initialEvents }),
    bookmarks: isTrue(query.get('allowWatchBookmarks')),
    initialEvents,
    revision,
    lifeMs: timeoutSeconds > 0 ? Math.min(timeoutSeconds * 1000, MAX_LIFE_MS) : randomInt(DEFAULT_LIFE_MS, MAX_LIFE_MS),
  };
}

interface WatchSource {
  readonly plan: WatchPlan;
  readonly filter: (entry: StoreEvent['entry']) => boolean;
  readonly batches: AsyncIterable<StoreBatch>;
  /** To be ended when its time is over. */
  readonly life: AbortController;
  readonly stop: AbortSignal;
}

async function* frames(
  deps: ApiDeps,
  call: Call,
  { plan, filter, batches, life, stop }: WatchSource,
): AsyncGenerator<Buffer | string> {
  const encode = createFrameEncoder(call, plan.format);
  let isFirst = true;
  let revision = plan.revision;
  let bookmarkAt = Date.now() + BOOKMARK_MS;
  // Not AbortSignal.timeout(): that would outlive a watch that its client closes early by up to an hour.
  const timer = setTimeout(() => life.abort(), plan.lifeMs);
  try {
    for await (const batch of batches) {
      const sliced = await mapSlices(batch.events, (events) =>
        events.map((event) => frameOf(call, event, filter, encode)),
      );
      const parts = sliced.flat().filter((frame) => frame !== undefined);
      if (parts.length > 0) {
        const bytes = parts.reduce((sum, frame) => sum + frame.length, 0);
        deps.countWatchEvents?.(call.resource, parts.length, bytes);
      }
      revision = batch.revision;
      if (isFirst && plan.initialEvents) parts.push(bookmark(call, revision, true));
      else if (plan.bookmarks && Date.now() >= bookmarkAt) {
        parts.push(bookmark(call, revision, false));
        bookmarkAt = Date.now() + BOOKMARK_MS;
      }
      isFirst = false;
      yield* chunksOf(parts);
    }
  } catch (error) {
    if (!isAbort(error) && !stop.aborted) yield errorFrame(error);
    return;
  } finally {
    clearTimeout(timer);
  }
  if (plan.bookmarks && !call.signal.aborted && revision > 0) yield bookmark(call, revision, false);
}

const CHUNK_BYTES = 256 * 1024;

/** Small frames together, one write for many; large ones as they are, so that a batch is not copied once more. */
function* chunksOf(frames: readonly Buffer[]): Generator<Buffer> {
  let gathered: Buffer[] = [];
  let bytes = 0;
  for (const frame of frames) {
    gathered.push(frame);
    bytes += frame.length;
    if (bytes < CHUNK_BYTES) continue;
    yield gathered.length === 1 ? frame : Buffer.concat(gathered);
    gathered = [];
    bytes = 0;
  }
  if (gathered.length > 0) yield gathered.length === 1 ? (gathered[0] as Buffer) : Buffer.concat(gathered);
}

type FrameEncoder = (type: string, served: Served) => Buffer;

/** The frame of an event, or undefined when the selectors hide it. An object that leaves the selector is DELETED. */
function frameOf(
  { resource }: Call,
  event: StoreEvent,
  filter: (entry: StoreEvent['entry']) => boolean,
  encode: FrameEncoder,
): Buffer | undefined {
  const { entry, previous } = event;
  if (event.type === 'DELETED') {
    return filter(previous ?? entry) ? encode('DELETED', serve(resource, entry)) : undefined;
  }
  const isSelected = filter(entry);
  const wasSelected = previous !== undefined && filter(previous);
  if (isSelected) return encode(wasSelected ? 'MODIFIED' : 'ADDED', serve(resource, entry));
  return wasSelected ? encode('DELETED', serve(resource, entry)) : undefined;
}

const FRAME_END = Buffer.from('}\n');

function createFrameEncoder(call: Call, format: Format): FrameEncoder {
  let columns = true;
  return (type, served) => {
    if (format.as === 'object') {
      return Buffer.concat([Buffer.from(`{"type":"${type}","object":`), served.bytes, FRAME_END]);
    }
    const object =
      format.as === 'metadata'
        ? partialMetadata(served.object, format)
        : tableOf(call, [served.object], String(served.revision), format, { columns });
    columns = false;
    return Buffer.from(`${JSON.stringify({ type, object })}\n`);
  };
}

function bookmark({ resource }: Call, revision: number, endsInitialEvents: boolean): Buffer {
  const metadata = {
    resourceVersion: String(revision),
    ...(endsInitialEvents ? { annotations: { [INITIAL_EVENTS_END]: 'true' } } : {}),
  };
  const object = { kind: resource.kind, apiVersion: apiVersionOf(resource), metadata };
  return Buffer.from(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`);
}

function errorFrame(error: unknown): string {
  return `${JSON.stringify({ type: 'ERROR', object: toStatus(error) })}\n`;
}
