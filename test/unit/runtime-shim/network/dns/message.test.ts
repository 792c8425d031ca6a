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
  ]);
});
