import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isServerAway, withLastKnown } from '../../../../controllers/node-agent/server-away.ts';
import { WindlassError } from '../../../../lib/errors.ts';
import { makeContainer } from './make.ts';

const signal = new AbortController().signal;
const away = (): Promise<never> => Promise.reject(new WindlassError('Unavailable', 'connection refused'));

test('withLastKnown() answers what it answered last while the server is away, and forgets what is gone', async () => {
  const object = makeContainer();
  let answer: () => Promise<typeof object | undefined> = away;
  const get = withLastKnown(() => answer());
  await assert.rejects(get('shop', 'web', signal), /refused/);
  answer = async () => object;
  assert.equal(await get('shop', 'web', signal), object);
  answer = away;
  assert.equal(await get('shop', 'web', signal), object);
  await assert.rejects(get('shop', 'other', signal), /refused/);
  answer = () => Promise.reject(new WindlassError('Internal', 'the store has no leader'));
  assert.equal(await get('shop', 'web', signal), object);
  answer = () => Promise.reject(new WindlassError('Forbidden', 'not yours'));
  await assert.rejects(get('shop', 'web', signal), /not yours/);
  answer = async () => undefined;
  assert.equal(await get('shop', 'web', signal), undefined);
  answer = away;
  await assert.rejects(get('shop', 'web', signal), /refused/);
});

test('isServerAway() is not what a stop of the agent is', () => {
  const stopped = AbortSignal.abort();
  const aborted = new DOMException('aborted', 'AbortError');
  assert.equal(isServerAway(aborted, signal), true);
  assert.equal(isServerAway(aborted, stopped), false);
  assert.equal(isServerAway(new WindlassError('Conflict', 'x'), signal), false);
});
