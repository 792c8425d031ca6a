import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPeerFinder } from '../../../../../controllers/node-agent/peers/find-peers.ts';
import type { PeerClient } from '../../../../../controllers/node-agent/peers/peer-client.ts';
import { createFakeClock } from '../../../../support/fake-clock.ts';

const signal = new AbortController().signal;

/** What a node answers: it has the blob, it has not, it fails, it never says anything. */
type Answer = boolean | 'fails' | 'silent';

function make(answers: Readonly<Record<string, Answer>>) {
  const asked: string[] = [];
  const clock = createFakeClock();
  const client: Pick<PeerClient, 'has'> = {
    async has({ nodeName }, _, stop) {
      asked.push(nodeName);
      const answer = answers[nodeName];
      if (answer === 'fails') throw new Error('no');
      if (answer !== 'silent') return answer === true;
      return new Promise((_, reject) => {
        stop.addEventListener('abort', () => reject(stop.reason as Error), { once: true });
      });
    },
  };
  const gone = new Set<string>();
  const nodes = {
    ready: async () =>
      Object.keys(answers)
        .filter((nodeName) => !gone.has(nodeName))
        .map((nodeName) => ({ nodeName, host: '', port: 1 })),
  };
  const finder = createPeerFinder({ nodes, client, clock, shuffle: (list) => [...list] });
  return { finder, asked, clock, gone };
}

test('find() asks those that should have it first, and at most sixteen', async () => {
  const { finder, asked } = make(Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`n${n}`, n === 29])));
  assert.deepEqual(await finder.find('d', ['n29'], signal), ['n29']);
  assert.deepEqual([asked[0], asked.length], ['n29', 16]);
  // It helped once: it is asked early also where nobody names it.
  asked.length = 0;
  await finder.find('e', [], signal);
  assert.equal(asked[0], 'n29');
});

test('find() forgets what a node did when the node is gone', async () => {
  const { finder, asked, gone } = make({ a: false, b: true });
  await finder.find('d', [], signal);
  asked.length = 0;
  await finder.find('d', [], signal);
  assert.deepEqual(asked, ['b', 'a']);
  gone.add('b');
  await finder.find('d', [], signal);
  // Another machine under the name.
  gone.delete('b');
  asked.length = 0;
  await finder.find('d', [], signal);
  assert.deepEqual(asked, ['a', 'b']);
});

test('find() does not wait for a dead node where another has it', async () => {
  const { finder } = make({ dead: 'silent', a: true });
  const startedAt = performance.now();
  assert.deepEqual(await finder.find('d', [], signal), ['a']);
  assert.ok(performance.now() - startedAt < 900, 'not until the end of the look');
});

test('find() leaves alone, for half a minute, who failed or did not answer', async () => {
  const { finder, asked, clock } = make({ dead: 'silent', broken: 'fails', a: false });
  assert.deepEqual(await finder.find('d', [], signal), []);
  asked.length = 0;
  await finder.find('d', [], signal);
  assert.deepEqual(asked, ['a']);
  await clock.advance(30_000);
  asked.length = 0;
  finder.noteSilence('a');
  await finder.find('d', [], signal);
  assert.deepEqual(asked.toSorted(), ['broken', 'dead']);
});
