import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createWaiting } from '../../../../controllers/scheduler/waiting.ts';
import { makeContainer } from '../../../support/objects.ts';

function makeQueue() {
  const keys: string[] = [];
  return { keys, addAfter: (key: string) => void keys.push(key) };
}

test('retry() queues the most important first, and each once until it was looked at again', () => {
  const waiting = createWaiting();
  const queue = makeQueue();
  waiting.add(makeContainer('low'));
  waiting.add(makeContainer('high', { priority: 5 }));
  waiting.retry(queue);
  waiting.retry(queue);
  assert.deepEqual(queue.keys, ['default/high', 'default/low']);
  waiting.add(makeContainer('low'));
  waiting.retry(queue);
  assert.deepEqual(queue.keys.slice(2), ['default/low']);
});

test('one that found a node is not queued any more', () => {
  const waiting = createWaiting();
  const queue = makeQueue();
  waiting.add(makeContainer('c', { shareNamespaces: { network: 'main' } }));
  assert.deepEqual(waiting.companionsOf('default/main'), ['default/c']);
  waiting.delete('default/c');
  waiting.retry(queue);
  assert.deepEqual([queue.keys, waiting.companionsOf('default/main')], [[], []]);
});
