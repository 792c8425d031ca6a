import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAnswerCache, lifeOf } from '../../../../../runtime-shim/network/dns/answer-cache.ts';
import { encodeName, RCODE, TYPE, type Question } from '../../../../../runtime-shim/network/dns/message.ts';

interface Record {
  readonly type: number;
  readonly ttl: number;
  readonly data: Buffer;
}

const address = (ttl: number): Record => ({ type: TYPE.a, ttl, data: Buffer.of(192, 0, 2, 1) });
const soa = (ttl: number, minimum: number): Record => {
  const numbers = Buffer.alloc(20);
  numbers.writeUInt32BE(minimum, 16);
  return { type: TYPE.soa, ttl, data: Buffer.concat([encodeName('ns.example'), encodeName('me.example'), numbers]) };
};
const question = (name: string, id = 7): Question => ({
  ...{ id, recursionDesired: true, name: name.toLowerCase(), type: TYPE.a, udpBytes: 512 },
  section: Buffer.concat([encodeName(name), Buffer.of(0, TYPE.a, 0, 1)]),
});

function message(
  answers: readonly Record[],
  authorities: readonly Record[] = [],
  rcode: number = RCODE.noError,
): Buffer {
  const header = Buffer.from([0, 1, 0x81, 0x80 | rcode, 0, 1, 0, answers.length, 0, authorities.length, 0, 0]);
  const records = [...answers, ...authorities].map(({ type, ttl, data }) => {
    const head = Buffer.alloc(12);
    head.writeUInt16BE(0xc00c, 0);
    head.writeUInt16BE(type, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt32BE(ttl, 6);
    head.writeUInt16BE(data.length, 10);
    return Buffer.concat([head, data]);
  });
  return Buffer.concat([header, question('example.org').section, ...records]);
}

test('lifeOf() takes the shortest lifetime, and for "no" what the zone says', () => {
  const seconds = (bytes: Buffer): number | undefined => lifeOf(bytes)?.seconds;
  assert.equal(seconds(message([address(300), address(60)])), 60);
  assert.equal(seconds(message([address(1_000_000)])), 3600);
  assert.equal(seconds(message([], [soa(900, 30)], RCODE.nameError)), 30);
  assert.equal(seconds(message([], [soa(20, 30)])), 20);
  assert.equal(seconds(message([], [soa(90_000, 90_000)], RCODE.nameError)), 300);
});

test('lifeOf() keeps nothing that is cut off, failed, without end, or damaged', () => {
  const good = message([address(60)]);
  const cut = Buffer.from(good);
  cut[2] = 0x83;
  for (const bytes of [cut, message([], [], RCODE.serverFailure), message([], [], RCODE.nameError), message([])])
    assert.equal(lifeOf(bytes), undefined);
  assert.equal(lifeOf(message([address(0)])), undefined);
  assert.equal(lifeOf(message([address(0xffffffff)])), undefined, 'a lifetime with the highest bit is none');
  for (let length = 0; length < good.length; length += 1) assert.equal(lifeOf(good.subarray(0, length)), undefined);
});

test('createAnswerCache() answers the asker, with the time that is left, until it is over', () => {
  let now = 0;
  const cache = createAnswerCache({ now: () => now });
  cache.put('k', message([address(60)]));
  now = 59_000;
  const kept = cache.get('k', question('eXample.ORG', 0x1234));
  assert.equal(kept?.readUInt16BE(0), 0x1234);
  assert.deepEqual(kept?.subarray(12, 29), question('eXample.ORG').section);
  assert.equal(kept?.readUInt32BE(29 + 6), 1);
  now = 60_000;
  assert.equal(cache.get('k', question('example.org')), undefined);
});

test('createAnswerCache() stays in its bounds and lets go of what was not asked for longest', () => {
  const cache = createAnswerCache({ now: () => 0, maxEntries: 3 });
  for (const key of ['a', 'b', 'c']) cache.put(key, message([address(60)]));
  cache.get('a', question('example.org'));
  cache.put('d', message([address(60)]));
  const has = (key: string): boolean => cache.get(key, question('example.org')) !== undefined;
  assert.deepEqual(['a', 'b', 'c', 'd'].map(has), [true, false, true, true]);
  const small = createAnswerCache({ now: () => 0, maxBytes: 90 });
  for (let index = 0; index < 50; index += 1) small.put(String(index), message([address(60)]));
  assert.equal(small.get('48', question('example.org')), undefined);
  assert.ok(small.get('49', question('example.org')));
});
