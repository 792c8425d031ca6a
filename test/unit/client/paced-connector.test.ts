import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { buildConnector } from 'undici';
import { paceConnector } from '../../../client/paced-connector.ts';

const target = (hostname: string) => ({ hostname, protocol: 'https:', port: '1' }) as buildConnector.Options;

/** Connections of a host each, two at a time, whose answers the test gives. */
function open(hosts: readonly string[]) {
  const asked: { readonly hostname: string; readonly answer: buildConnector.Callback }[] = [];
  const got: string[] = [];
  const connect = paceConnector(({ hostname }, answer) => void asked.push({ hostname, answer }), {
    limit: 2,
    patienceMs: 1_000,
  });
  for (const host of hosts)
    connect(target(host), (...[error]) => void got.push(`${host}: ${error?.message ?? 'open'}`));
  return { asked, got, names: () => asked.map(({ hostname }) => hostname) };
}

test('paceConnector() opens so many at a time, in order, and goes on after a failure', (t: TestContext) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { asked, got, names } = open(['a', 'b', 'c', 'd']);
  assert.deepEqual(names(), ['a', 'b']);
  asked[1]?.answer(new Error('refused'), null);
  assert.deepEqual(names(), ['a', 'b', 'c']);
  asked[0]?.answer(null, {} as never);
  assert.deepEqual(names(), ['a', 'b', 'c', 'd']);
  assert.deepEqual(got, ['b: refused', 'a: open']);
});

test('paceConnector() lets the next go when one takes long, and counts that once', (t: TestContext) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { asked, got, names } = open(['a', 'b', 'c', 'd', 'e']);
  t.mock.timers.tick(1_000);
  assert.deepEqual(names(), ['a', 'b', 'c', 'd']);
  asked[0]?.answer(new Error('too late'), null);
  assert.deepEqual(names(), ['a', 'b', 'c', 'd']);
  asked[2]?.answer(null, {} as never);
  assert.deepEqual(names(), ['a', 'b', 'c', 'd', 'e']);
  assert.deepEqual(got, ['a: too late', 'c: open']);
});

test('paceConnector() gives a connector that throws to who asked, and to the next', () => {
  const refuse = (): never => {
    throw new Error('no');
  };
  const connect = paceConnector(refuse, { limit: 1, patienceMs: 1_000 });
  const got: string[] = [];
  for (const name of ['a', 'b']) connect(target(name), (...[error]) => void got.push(`${name}: ${error?.message}`));
  assert.deepEqual(got, ['a: no', 'b: no']);
});
