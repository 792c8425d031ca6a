import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { createForwarder } from '../../../../../runtime-shim/network/dns/forward.ts';
import {
  encodeAnswer,
  encodeName,
  parseQuestion,
  RCODE,
  TYPE,
  type Question,
} from '../../../../../runtime-shim/network/dns/message.ts';

function query(name: string | Buffer, id: number): { bytes: Buffer; question: Question } {
  const header = Buffer.from([id >> 8, id & 0xff, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  const labels = typeof name === 'string' ? encodeName(name) : name;
  const bytes = Buffer.concat([header, labels, Buffer.of(0, TYPE.a, 0, 1)]);
  const parsed = parseQuestion(bytes);
  assert.equal(parsed.kind, 'question');
  return { bytes, question: (parsed as { question: Question }).question };
}

/** A resolver on loopback, IPv6 too, that counts what it is asked and answers when `go` resolves. */
async function startResolver(t: TestContext, family: 'udp4' | 'udp6', go: Promise<unknown> = Promise.resolve()) {
  const socket = createSocket(family);
  const asked: string[] = [];
  socket.on('message', (bytes, peer) => {
    const parsed = parseQuestion(bytes);
    if (parsed.kind !== 'question') return;
    asked.push(parsed.question.name);
    const answer = encodeAnswer(parsed.question, RCODE.noError, [{ type: TYPE.a, data: Buffer.of(192, 0, 2, 1) }], 512);
    void go.then(() => socket.send(answer, peer.port, peer.address));
  });
  socket.bind(0, family === 'udp4' ? '127.0.0.1' : '::1');
  await once(socket, 'listening');
  t.after(() => socket.close());
  return { asked, port: socket.address().port };
}

test('createForwarder() asks once for what many ask at the same time or later, in any spelling', async (t) => {
  const open = Promise.withResolvers<void>();
  const { asked, port } = await startResolver(t, 'udp4', open.promise);
  const forwarder = createForwarder(() => [`127.0.0.1:${port}`]);
  const forward = ({ bytes, question }: ReturnType<typeof query>) => forwarder.forward(question, bytes, 'udp');
  const both = [forward(query('Example.org', 1)), forward(query('example.ORG', 2))];
  open.resolve();
  const answers = [...(await Promise.all(both)), await forward(query('EXAMPLE.org', 3))];
  assert.deepEqual(asked, ['example.org']);
  assert.deepEqual(
    answers.map((answer) => [answer?.readUInt16BE(0), answer?.toString('latin1', 13, 20)]),
    [
      [1, 'Example'],
      [2, 'example'],
      [3, 'EXAMPLE'],
    ],
  );
});

test('createForwarder() keeps apart a name with a dot in a label and the name that reads like it', async (t) => {
  const { asked, port } = await startResolver(t, 'udp4');
  const forwarder = createForwarder(() => [`127.0.0.1:${port}`]);
  const spelled = query(Buffer.from('\x0bwww.example\x03org\0', 'latin1'), 1);
  const real = query('www.example.org', 2);
  assert.equal(spelled.question.name, real.question.name);
  for (const { bytes, question } of [spelled, real]) {
    const answer = await forwarder.forward(question, bytes, 'udp');
    assert.deepEqual(answer?.subarray(12, 12 + question.section.length), question.section);
  }
  assert.equal(asked.length, 2);
});

test('createForwarder() forgets what other resolvers said', async (t) => {
  const [first, second] = [await startResolver(t, 'udp4'), await startResolver(t, 'udp4')];
  let port = first.port;
  const forwarder = createForwarder(() => [`127.0.0.1:${port}`]);
  const { bytes, question } = query('example.org', 1);
  await forwarder.forward(question, bytes, 'udp');
  port = second.port;
  await forwarder.forward(question, bytes, 'udp');
  assert.deepEqual([first.asked.length, second.asked.length], [1, 1]);
});
