import assert from 'node:assert/strict';
import test from 'node:test';
import { askAnyMember } from '../../../../apiserver/storage/etcd-hosts.ts';

const REFUSED = '14 UNAVAILABLE: No connection established. Last error: Error: connect ECONNREFUSED';
const LOST = '4 DEADLINE_EXCEEDED: Deadline exceeded';

/** Members in a fixed order, as the client's pool tries them; `broken` says how a member fails. */
function setUp(names: readonly string[]) {
  let now = 0;
  const { host, global } = askAnyMember(names, () => now);
  const policies = names.map((name) => ({ name, policy: host?.(name) }));
  const broken = new Map<string, string>();
  const asked: string[] = [];
  /** One call, which begins at `first`; answers whom it was answered by. */
  const call = async (first: number): Promise<string> => {
    let next = first;
    const answer = await global?.execute(async () => {
      // What was not called through to goes on to the next member, as in the pool.
      for (let tries = 0; tries < policies.length; tries += 1) {
        const { name, policy } = policies[next % policies.length] as (typeof policies)[number];
        next += 1;
        let isThrough = false;
        try {
          return await policy?.execute(() => {
            isThrough = true;
            asked.push(name);
            const failure = broken.get(name);
            if (failure !== undefined) throw new Error(failure);
            return name;
          });
        } catch (error) {
          if (isThrough) throw error;
        }
      }
      throw new Error('nobody was asked');
    });
    return String(answer);
  };
  return { call, broken, asked, pass: (ms: number) => void (now += ms) };
}

test('askAnyMember() turns to the next where nothing could be sent, and remembers it for a while', async () => {
  const { call, broken, asked, pass } = setUp(['http://a', 'http://b', 'http://c']);
  broken.set('http://a', REFUSED);
  assert.equal(await call(0), 'http://b');
  assert.equal(await call(0), 'http://b');
  assert.deepEqual(asked.splice(0), ['http://a', 'http://b', 'http://b']);
  pass(6_000);
  broken.clear();
  assert.equal(await call(0), 'http://a');
});

test('askAnyMember() sends nothing twice that may have arrived, and passes by who was silent', async () => {
  const { call, broken, asked } = setUp(['http://a', 'http://b']);
  broken.set('http://a', LOST);
  await assert.rejects(call(0), /DEADLINE_EXCEEDED/);
  assert.deepEqual(asked.splice(0), ['http://a']);
  assert.equal(await call(0), 'http://b');
  broken.set('http://b', 'etcdserver: duplicate key given in txn request');
  await assert.rejects(call(1), /duplicate key/);
});

test('askAnyMember() asks all again when all were away', async () => {
  const { call, broken } = setUp(['http://a', 'http://b']);
  for (const name of ['http://a', 'http://b']) broken.set(name, REFUSED);
  await assert.rejects(call(0), /No connection established/);
  broken.clear();
  assert.equal(await call(1), 'http://b');
  const alone = setUp(['http://a']);
  alone.broken.set('http://a', LOST);
  await assert.rejects(alone.call(0), /DEADLINE/);
  alone.broken.clear();
  assert.equal(await alone.call(0), 'http://a');
});
