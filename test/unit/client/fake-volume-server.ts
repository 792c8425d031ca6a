// A tiny list+watch server of Volumes over HTTP with a history, whose faults a test switches on.
import type { ServerResponse } from 'node:http';
import { reply, startFakeApiServer, status, type FakeApiServer } from './fake-api-server.ts';

export interface FakeVolumeServer extends AsyncDisposable {
  readonly api: FakeApiServer;
  put(name: string, labels?: Record<string, string>): void;
  remove(name: string): void;
  bookmark(): void;
  /** Forgets the history: watches from before are answered with 410. */
  compact(): void;
  /** Answers the next requests with this code instead. */
  failNext(times: number, code: number, body?: unknown): void;
  /** Writes raw text to every open watch. */
  inject(text: string): void;
  /** Ends every open watch cleanly. */
  closeWatches(): void;
  /** Open watches hear nothing any more, and are not told: their wire was cut. */
  muteWatches(): void;
  openWatches(): number;
  lists(): number;
}

export async function startFakeVolumeServer(): Promise<FakeVolumeServer> {
  let version = 10;
  let oldest = 0;
  let failures: { code: number; body: unknown }[] = [];
  const objects = new Map<string, object>();
  const history: { version: number; line: string }[] = [];
  const watches = new Set<ServerResponse>();

  const emit = (type: string, object: object): void => {
    const line = `${JSON.stringify({ type, object })}\n`;
    history.push({ version, line });
    for (const watch of watches) watch.write(line);
  };
  const api = await startFakeApiServer((request, response) => {
    const failure = failures.shift();
    if (failure) return reply(response, failure.code, failure.body);
    const query = new URL(request.url, 'http://x').searchParams;
    if (query.get('watch') !== 'true') {
      return reply(response, 200, { metadata: { resourceVersion: String(version) }, items: [...objects.values()] });
    }
    const from = Number(query.get('resourceVersion'));
    if (from < oldest) return reply(response, 410, status(410, 'Expired', 'too old resource version'));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    for (const event of history) if (event.version > from) response.write(event.line);
    watches.add(response);
    response.on('close', () => watches.delete(response));
  });
  const volume = (name: string, labels?: Record<string, string>): object => ({
    apiVersion: 'windlass.dev/v1',
    kind: 'Volume',
    metadata: { name, namespace: 'default', resourceVersion: String(version), ...(labels ? { labels } : {}) },
    spec: {},
  });
  return {
    api,
    put(name, labels) {
      version += 1;
      const object = volume(name, labels);
      const type = objects.has(name) ? 'MODIFIED' : 'ADDED';
      objects.set(name, object);
      emit(type, object);
    },
    remove(name) {
      version += 1;
      objects.delete(name);
      emit('DELETED', volume(name));
    },
    bookmark() {
      version += 1;
      emit('BOOKMARK', {
        kind: 'Volume',
        apiVersion: 'windlass.dev/v1',
        metadata: { resourceVersion: String(version) },
      });
    },
    compact() {
      version += 1;
      oldest = version;
      history.length = 0;
    },
    failNext(times, code, body = status(code, 'InternalError', 'broken')) {
      failures = Array.from({ length: times }, () => ({ code, body }));
    },
    inject(text) {
      for (const watch of watches) watch.write(text);
    },
    closeWatches() {
      for (const watch of watches) watch.end();
    },
    muteWatches: () => watches.clear(),
    openWatches: () => watches.size,
    lists: () => api.requests.filter((line) => !line.includes('watch=true')).length,
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  };
}
