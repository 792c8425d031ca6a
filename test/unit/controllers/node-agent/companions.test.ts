import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApiClient, KindClient, ListOptions, WatchEvent } from '../../../../client/client.ts';
import { createInformer } from '../../../../client/informer.ts';
import { containerKind, type Container } from '../../../../crds/container.ts';
import { createCompanions } from '../../../../controllers/node-agent/companions.ts';
import { systemClock as clock } from '../../../../lib/clock.ts';
import { silentLogger } from '../../../../lib/log.ts';
import { waitFor } from '../../../support/wait.ts';

const log = silentLogger();
type Spec = Partial<Container['spec']>;
const container = (name: string, spec: Spec, labels: Record<string, string> = {}): Container =>
  ({
    ...{ apiVersion: 'windlass.dev/v1', kind: 'Container' },
    metadata: { name, namespace: 'd', uid: name, resourceVersion: name, labels },
    spec,
  }) as unknown as Container;
const needs = (kind: 'Container' | 'Service', name: string): Spec['dependsOn'] => [
  { kind, name, condition: 'Started' },
];

/** Lists by the selectors that agents use; a watch stays open and says nothing, unless `push` is called. */
function createCluster(objects: readonly Container[], unanswered?: string) {
  const lists: string[] = [];
  const open = new Set<string>();
  const listeners = new Map<string, (event: WatchEvent<Container>) => void>();
  const selectorOf = ({ fieldSelector, labelSelector }: ListOptions): string => fieldSelector ?? labelSelector ?? '';
  const matches = (selector: string, { metadata, spec }: Container): boolean => {
    const [field, value] = selector.split('=');
    if (field === 'spec.nodeName') return spec.nodeName === value;
    return field === 'metadata.name' ? metadata.name === value : metadata.labels?.[field ?? ''] === value;
  };
  const kind = {
    kind: containerKind,
    async list(options: ListOptions = {}) {
      const selector = selectorOf(options);
      lists.push(selector);
      if (selector === unanswered) await new Promise(() => undefined);
      return { items: objects.filter((one) => matches(selector, one)), resourceVersion: '1' };
    },
    async *watch(options: ListOptions, signal: AbortSignal): AsyncGenerator<WatchEvent<Container>> {
      const selector = selectorOf(options);
      open.add(selector);
      const queue: WatchEvent<Container>[] = [];
      let wake = (): void => undefined;
      listeners.set(selector, (event) => {
        queue.push(event);
        wake();
      });
      signal.addEventListener('abort', () => wake(), { once: true });
      while (!signal.aborted) {
        const event = queue.shift();
        if (event) yield event;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      open.delete(selector);
    },
  };
  const client = { kind: () => kind as unknown as KindClient<Container> } as unknown as ApiClient;
  return {
    client,
    lists,
    open,
    push: (selector: string, event: WatchEvent<Container>) => listeners.get(selector)?.(event),
  };
}

function start(objects: readonly Container[], signal: AbortSignal, unanswered?: string) {
  const cluster = createCluster(objects, unanswered);
  const options = { log, clock, fieldSelector: 'spec.nodeName=me' };
  const own = createInformer(cluster.client.kind<Container>(containerKind), options);
  const companions = createCompanions({ client: cluster.client, own, nodeName: 'me', clock, log });
  const running = Promise.all([own.run(signal), companions.run(signal)]);
  return { cluster, own, companions, running };
}

test('createCompanions() watches what own Containers name elsewhere, and what that names, until nobody does', async () => {
  const stop = new AbortController();
  const a = container('a', { nodeName: 'me', dependsOn: needs('Container', 'b') });
  const objects = [
    a,
    container('b', { nodeName: 'other', dependsOn: needs('Container', 'c') }),
    container('c', { nodeName: 'third' }),
    container('d', { nodeName: 'other' }),
  ];
  const { cluster, companions, running } = start(objects, stop.signal);
  await waitFor(() => companions.get('d/c'), { what: 'the one that is named by the one that is named' });
  await companions.known(a, stop.signal);
  assert.equal(companions.get('d/b')?.spec.nodeName, 'other');
  assert.deepEqual(
    companions
      .list('d')
      .map(({ metadata }) => metadata.name)
      .toSorted(),
    ['b', 'c'],
  );
  assert.deepEqual(companions.list('e'), []);
  cluster.push('spec.nodeName=me', { type: 'DELETED', object: a });
  const follows = (): boolean => cluster.open.size > 1;
  await waitFor(() => !follows() || undefined, { what: 'the end of their watches' });
  assert.deepEqual([companions.list(), [...cluster.open]], [[], ['spec.nodeName=me']]);
  stop.abort();
  await running;
  assert.deepEqual(cluster.lists.toSorted(), ['metadata.name=b', 'metadata.name=c', 'spec.nodeName=me']);
});

test('createCompanions() follows the Containers of a Service, and leaves those of this node to the own watch', async () => {
  const stop = new AbortController();
  const labels = { 'windlass.dev/service': 'db' };
  const objects = [
    container('web', { nodeName: 'me', dependsOn: needs('Service', 'db') }),
    container('db-1', { nodeName: 'me' }, labels),
    container('db-2', { nodeName: 'other' }, labels),
    container('reader', { nodeName: 'me', dependsOn: needs('Container', 'db-1') }),
  ];
  const { cluster, companions, running } = start(objects, stop.signal);
  const heard: string[] = [];
  companions.subscribe(({ object }) => heard.push(object.metadata.name));
  await waitFor(() => companions.list().length > 0 || undefined, { what: 'the other member' });
  assert.deepEqual(
    companions.list().map(({ metadata }) => metadata.name),
    ['db-2'],
  );
  assert.deepEqual(heard, ['db-2']);
  stop.abort();
  await running;
  assert.ok(!cluster.lists.includes('metadata.name=db-1'));
});

test('known() does not wait for what is not named any more', async () => {
  const stop = new AbortController();
  const a = container('a', { nodeName: 'me', dependsOn: needs('Container', 'b') });
  const { cluster, companions } = start([a], stop.signal, 'metadata.name=b');
  await waitFor(() => cluster.lists.includes('metadata.name=b') || undefined, { what: 'the list' });
  const known = companions.known(a, stop.signal);
  await waitFor(() => cluster.open.has('spec.nodeName=me') || undefined, { what: 'the own watch' });
  cluster.push('spec.nodeName=me', { type: 'DELETED', object: a });
  await known;
  stop.abort();
});

test('known() ends with its signal', async () => {
  const [stop, call] = [new AbortController(), new AbortController()];
  const a = container('a', { nodeName: 'me', dependsOn: needs('Container', 'b') });
  const { cluster, companions } = start([a], stop.signal, 'metadata.name=b');
  await waitFor(() => cluster.lists.includes('metadata.name=b') || undefined, { what: 'the list' });
  const known = companions.known(a, call.signal);
  call.abort();
  await assert.rejects(known, { name: 'AbortError' });
  stop.abort();
});
