import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encodeAnswer,
  encodeName,
  parseQuestion,
  RCODE,
  reverseAddress,
  TYPE,
  type Question,
} from '../../../../../runtime-shim/network/dns/message.ts';
import { lifeOf } from '../../../../../runtime-shim/network/dns/answer-cache.ts';
import { decide } from '../../../../../runtime-shim/network/dns/zone.ts';
import { emptyState } from '../../../../../runtime-shim/network/state.ts';
import { parseResolvConf } from '../../../../../runtime-shim/network/dns/forward.ts';

const header = (flags = 0x0100, questions = 1): Buffer => {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt16BE(0x1234, 0);
  bytes.writeUInt16BE(flags, 2);
  bytes.writeUInt16BE(questions, 4);
  return bytes;
};
const query = (name: string, type: number, extra: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([header(), encodeName(name), Buffer.of(0, type, 0, 1), extra]);
const question = (bytes: Buffer): Question => {
  const parsed = parseQuestion(bytes);
  assert.equal(parsed.kind, 'question');
  return (parsed as { question: Question }).question;
};

test('parseQuestion() reads name, type and the size of EDNS', () => {
  const opt = Buffer.of(0, 0, 41, 0x10, 0x00, 0, 0, 0, 0, 0, 0);
  const { name, type, udpBytes, id } = question(query('WeB.Default', TYPE.aaaa, opt));
  assert.deepEqual({ name, type, udpBytes, id }, { name: 'web.default', type: TYPE.aaaa, udpBytes: 4096, id: 0x1234 });
  assert.equal(question(query('web', TYPE.a)).udpBytes, 512);
});

test('parseQuestion() refuses what no client sends, for every cut of a good message', () => {
  const good = query('web.default', TYPE.a);
  for (let length = 0; length < good.length; length += 1)
    assert.notEqual(parseQuestion(good.subarray(0, length)).kind, 'question');
  assert.equal(parseQuestion(Buffer.concat([header(0x8100), good.subarray(12)])).kind, 'ignore');
  const codes = [
    Buffer.concat([header(0x0900), good.subarray(12)]),
    Buffer.concat([header(0x0100, 2), good.subarray(12)]),
    Buffer.concat([header(), Buffer.of(0xc0, 12, 0, 1, 0, 1)]),
    Buffer.concat([header(), encodeName('web'), Buffer.of(0, 1, 0, 3)]),
  ].map((bytes) => (parseQuestion(bytes) as { rcode: number }).rcode);
  assert.deepEqual(codes, [RCODE.notImplemented, RCODE.formatError, RCODE.formatError, RCODE.refused]);
});

test('encodeAnswer() echoes the question and truncates what does not fit', () => {
  const asked = question(query('web', TYPE.a));
  const answers = Array.from({ length: 40 }, (_, index) => ({ type: TYPE.a, data: Buffer.of(10, 0, 0, index) }));
  const whole = encodeAnswer(asked, RCODE.noError, answers, 4096);
  assert.equal(whole.readUInt16BE(6), 40);
  assert.equal(whole.readUInt16BE(2), 0x8580);
  const cut = encodeAnswer(asked, RCODE.noError, answers, 512);
  assert.deepEqual([cut.readUInt16BE(6), cut.readUInt16BE(2) & 0x0200, cut.length <= 512], [0, 0x0200, true]);
  assert.deepEqual(cut.subarray(12), asked.section);
});

test('reverseAddress() and parseResolvConf() read what they know', () => {
  assert.equal(reverseAddress('2.0.1.10.in-addr.arpa'), '10.1.0.2');
  assert.equal(reverseAddress('x.in-addr.arpa'), undefined);
  assert.deepEqual(parseResolvConf('# nameserver 9.9.9.9\nnameserver 192.0.2.53\nnameserver ::1\nsearch x\n'), [
    '192.0.2.53',
    '::1',
  ]);
});

test('parseQuestion(), lifeOf() and decide() survive any bytes, and what is read is within its limits', () => {
  let seed = 1;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return seed % below;
  };
  const state = emptyState();
  state.networks.set('n', {
    ...{ id: 'n', internal: false, isolated: false, mtu: 1500, domain: 'default' },
    subnets: [{ cidr: '10.1.0.0/24', gateway: '10.1.0.1', ranges: [] }],
  });
  const seeds = [
    query('web.default', TYPE.a, Buffer.of(0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0)),
    query('2.0.1.10.in-addr.arpa', TYPE.ptr),
    encodeAnswer(question(query('web', TYPE.a)), RCODE.noError, [{ type: TYPE.a, data: Buffer.of(1, 2, 3, 4) }], 512),
  ];
  for (let round = 0; round < 20_000; round += 1) {
    const bytes = Buffer.from(seeds[random(seeds.length)] as Buffer).subarray(0, 1 + random(64));
    for (let change = random(6); change > 0; change -= 1) bytes[random(bytes.length)] = random(256);
    lifeOf(bytes);
    const parsed = parseQuestion(bytes);
    if (parsed.kind !== 'question') continue;
    const { name, section, udpBytes } = parsed.question;
    assert.ok(name.length <= 255 && section.length <= bytes.length && udpBytes >= 512 && udpBytes <= 4096);
    const decision = decide(state, ['n'], parsed.question);
    if (decision.kind === 'answer') encodeAnswer(parsed.question, decision.rcode, decision.answers, udpBytes);
  }
});

test('parseQuestion() takes a name of 255 bytes and refuses one of 256', () => {
  const name = (last: number): string => [63, 63, 63, last].map((length) => 'a'.repeat(length)).join('.');
  assert.equal(question(query(name(61), TYPE.a)).name.length, 253);
  assert.equal(parseQuestion(query(name(62), TYPE.a)).kind, 'bad');
});
