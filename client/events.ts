// Writes Events about objects. The same event again raises the count of the one that is there; an object that causes
// more than a burst of them is cut short. Recording never fails and never waits: an Event is a courtesy, and lets what it
// tells of go first.
import { eventKind, type Event } from '../crds/builtin.ts';
import { apiVersionOf, type KindName, type ObjectMeta } from '../crds/kind.ts';
import type { Clock } from '../lib/clock.ts';
import { rfc3339 } from '../lib/clock.ts';
import { isNotFound } from '../lib/errors.ts';
import { shortHash } from '../lib/instance.ts';
import type { Logger } from '../lib/log.ts';
import type { RunPart } from '../lib/run-all.ts';
import type { ApiClient } from './client.ts';

export interface EventSubject {
  readonly kind: KindName;
  readonly metadata: Pick<ObjectMeta, 'name' | 'namespace' | 'uid' | 'resourceVersion'>;
}

export interface EventRecorder extends RunPart {
  /** Notes that something happened to `subject`; `reason` is one CamelCase word, `message` a sentence for people. */
  record(subject: EventSubject, type: 'Normal' | 'Warning', reason: string, message: string): void;
  /** Resolves when everything recorded so far is written or given up. */
  flush(): Promise<void>;
}

export interface EventRecorderOptions {
  readonly client: ApiClient;
  /** Who reports, e.g. `windlass-scheduler`. */
  readonly component: string;
  /** The node it runs on, where there is one. */
  readonly host?: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Like upstream: 25 at once per object, then one every 5 minutes. */
const BURST = 25;
const REFILL_MS = 300_000;
/** Events of one object that differ only in the message, beyond which they are counted as one. */
const MAX_SIMILAR = 10;
const MAX_REMEMBERED = 4096;
const MAX_QUEUED = 1000;
/** Nothing is written before as long has passed without another one, so that a burst is through before it is told. */
const LULL_MS = 200;
/** However much goes on, nobody should wait longer for what happened. */
const LONGEST_WAIT_MS = 5_000;
/** The server's limit for the message of an Event. */
const MAX_MESSAGE = 1024;
/** The server drops an Event after an hour; an older one cannot be raised. */
const AGGREGATE_MS = 600_000;

interface Remembered {
  readonly name: string;
  count: number;
  lastAt: number;
}

interface Waiting {
  event: Event;
  /** Times that it happened since it waits. */
  count: number;
  readonly sinceMs: number;
}

/** A recorder that writes in the background, one Event after the other, from its first record() on. */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { clock } = options;
  const events = options.client.kind<Event>(eventKind);
  const remembered = new Map<string, Remembered>();
  const similar = new Map<string, Set<string>>();
  const buckets = new Map<string, { tokens: number; at: number }>();
  const stop = new AbortController();
  const queue = new Map<string, Waiting>();
  let writing: Promise<void> | undefined;
  let hurry = new AbortController();
  let lastAtMs = 0;
  let sequence = 0;

  const takeToken = (subject: string): boolean => {
    const now = clock.now();
    const bucket = buckets.get(subject) ?? { tokens: BURST, at: now };
    const tokens = Math.min(BURST, bucket.tokens + (now - bucket.at) / REFILL_MS);
    remember(buckets, subject, { tokens: tokens >= 1 ? tokens - 1 : tokens, at: now });
    return tokens >= 1;
  };

  /** Many messages of one reason become one Event, so that a changing number in the text does not flood the list. */
  const combine = (group: string, message: string): string => {
    const messages = similar.get(group) ?? new Set<string>();
    remember(similar, group, messages);
    if (messages.has(message)) return message;
    if (messages.size >= MAX_SIMILAR) return `(combined from similar events): ${message}`;
    messages.add(message);
    return message;
  };

  const write = async ({ event, count }: Waiting, aggregateKey: string): Promise<void> => {
    const now = clock.now();
    const before = remembered.get(aggregateKey);
    if (before && now - before.lastAt < AGGREGATE_MS) {
      before.count += count;
      before.lastAt = now;
      const { message, lastTimestamp } = event;
      const patch = { count: before.count, lastTimestamp, ...(message === undefined ? {} : { message }) };
      try {
        await events.mergePatch(before.name, event.metadata.namespace, patch, {}, stop.signal);
        return;
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    await events.create({ ...event, count }, stop.signal);
    remember(remembered, aggregateKey, { name: event.metadata.name, count, lastAt: now });
  };

  /** Resolves when nothing has been recorded for a while, or what happened at `sinceMs` has waited long enough. */
  const calm = async (sinceMs: number): Promise<void> => {
    for (;;) {
      const signal = AbortSignal.any([stop.signal, hurry.signal]);
      const waitMs = Math.min(lastAtMs + LULL_MS, sinceMs + LONGEST_WAIT_MS) - clock.now();
      // It is longer than a lull when the clock was set back, and would be for as long.
      if (waitMs <= 0 || waitMs > LULL_MS || signal.aborted) return;
      await clock.sleep(waitMs, signal).catch(() => undefined);
    }
  };

  const writeAll = async (): Promise<void> => {
    for (const [key, waiting] of queue) {
      await calm(waiting.sinceMs);
      queue.delete(key);
      try {
        await write(waiting, key);
      } catch (err) {
        if (stop.signal.aborted) return;
        const { reason, involvedObject } = waiting.event;
        options.log.debug({ err, reason, object: involvedObject }, 'failed to write event');
      }
    }
    writing = undefined;
  };

  const flush = async (): Promise<void> => {
    hurry.abort();
    await writing;
    hurry = new AbortController();
  };

  return {
    name: 'event recorder',
    record(subject, type, reason, message) {
      const { name, namespace, uid = '' } = subject.metadata;
      const subjectKey = `${subject.kind.kind}/${namespace ?? ''}/${name}/${uid}`;
      if (stop.signal.aborted || queue.size >= MAX_QUEUED || !takeToken(subjectKey)) return;
      const group = `${subjectKey}/${type}/${reason}`;
      const text = combine(group, message).slice(0, MAX_MESSAGE);
      const key = text.startsWith('(combined') ? group : `${group}/${text}`;
      lastAtMs = clock.now();
      const waiting = queue.get(key);
      if (waiting) {
        waiting.count += 1;
        waiting.event = { ...waiting.event, message: text, lastTimestamp: rfc3339(lastAtMs) };
        return;
      }
      sequence += 1;
      const event = makeEvent(options, subject, { type, reason, message: text, sequence });
      queue.set(key, { event, count: 1, sinceMs: lastAtMs });
      writing ??= writeAll();
    },
    flush,
    async run(signal) {
      if (!signal.aborted)
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      await Promise.race([flush(), clock.sleep(1000)]);
      stop.abort();
    },
  };
}

function makeEvent(
  { component, host, clock }: EventRecorderOptions,
  subject: EventSubject,
  fields: { type: 'Normal' | 'Warning'; reason: string; message: string; sequence: number },
): Event {
  const { kind, metadata } = subject;
  const { sequence, ...rest } = fields;
  const now = clock.now();
  // What is in no namespace has its Events in default, where kubectl describe looks for them.
  const namespace = metadata.namespace ?? 'default';
  const suffix = shortHash(`${component}/${host ?? ''}/${process.pid}/${now}/${sequence}`, 16);
  return {
    apiVersion: apiVersionOf(eventKind),
    kind: eventKind.kind,
    metadata: { name: `${metadata.name.slice(0, 200)}.${suffix}`, namespace },
    involvedObject: {
      apiVersion: apiVersionOf(kind),
      kind: kind.kind,
      name: metadata.name,
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
      ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
      ...(metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion }),
    },
    ...rest,
    source: { component, ...(host === undefined ? {} : { host }) },
    reportingComponent: component,
    reportingInstance: host ?? '',
    firstTimestamp: rfc3339(now),
    lastTimestamp: rfc3339(now),
    count: 1,
  };
}

/** Sets an entry as the newest and drops the oldest beyond what a process should keep in mind. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= MAX_REMEMBERED) return;
  const oldest = map.keys().next();
  if (!oldest.done) map.delete(oldest.value);
}
