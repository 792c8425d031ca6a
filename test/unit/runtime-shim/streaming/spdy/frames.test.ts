import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createFrameReader,
  MAX_CONTROL_BYTES,
  type ControlFrame,
} from '../../../../../runtime-shim/streaming/spdy/frame-reader.ts';
import * as frames from '../../../../../runtime-shim/streaming/spdy/frames.ts';

type Seen = ControlFrame | { streamId: number; data: string; isLast: boolean };

function read(...chunks: Buffer[]): Seen[] {
  const seen: Seen[] = [];
  const reader = createFrameReader({
    onControl: (frame) => void seen.push(frame),
    onData: (streamId, data, isLast) => void seen.push({ streamId, data: data.toString(), isLast }),
  });
  for (const chunk of chunks) reader.push(chunk);
  return seen;
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

test('frames are written as the specification draws them', () => {
  assert.equal(frames.ping(7).toString('hex'), '8003000600000004' + '00000007');
  assert.equal(frames.goAway(5, 1).toString('hex'), '8003000700000008' + '0000000500000001');
  assert.equal(frames.rstStream(3, frames.RST.cancel).toString('hex'), '8003000300000008' + '0000000300000005');
  assert.equal(frames.windowUpdate(0, 65536).toString('hex'), '8003000900000008' + '0000000000010000');
  assert.equal(frames.synReply(1, Buffer.from('ab')).toString('hex'), '8003000200000006' + '00000001' + '6162');
  assert.equal(frames.dataHeader(9, 0x010203, true).toString('hex'), '00000009' + '01' + '010203');
});

test('createFrameReader() reads every frame a client sends', () => {
  assert.deepEqual(
    read(
      hex('8003 0001 01 00000c 80000005 00000000 0000 abcd'),
      hex('8003 0008 00 000006 00000005 abcd'),
      hex('8003 0003 00 000008 00000005 00000005'),
      hex('8003 0004 00 000014 00000002 00000004 00000064 01000007 00020000'),
      hex('8003 0006 00 000004 00000003'),
      hex('8003 0007 00 000008 00000005 00000000'),
      hex('8003 0009 00 000008 00000005 80000400'),
      hex('8003 00ff 00 000002 abcd'),
      hex('00000005 01 000002 6869'),
      hex('00000005 01 000000'),
    ),
    [
      { kind: 'synStream', streamId: 5, block: hex('abcd'), flags: 1 },
      { kind: 'headers', streamId: 5, block: hex('abcd'), flags: 0 },
      { kind: 'rstStream', streamId: 5, status: 5 },
      {
        kind: 'settings',
        values: new Map([
          [4, 100],
          [7, 131072],
        ]),
      },
      { kind: 'ping', id: 3 },
      { kind: 'goAway' },
      { kind: 'windowUpdate', streamId: 5, bytes: 1024 },
      { streamId: 5, data: 'hi', isLast: true },
      { streamId: 5, data: '', isLast: true },
    ],
  );
});

test('createFrameReader() reads the same however the bytes are cut', () => {
  const all = Buffer.concat([
    frames.ping(1),
    frames.dataHeader(1, 5, true),
    Buffer.from('hello'),
    frames.windowUpdate(1, 9),
    frames.dataHeader(3, 0, false),
  ]);
  const whole = read(all);
  for (let size = 1; size < all.length; size += 1) {
    const chunks = Array.from({ length: Math.ceil(all.length / size) }, (_, index) =>
      all.subarray(index * size, (index + 1) * size),
    );
    const seen = read(...chunks);
    const text = seen.map((frame) => ('data' in frame && frame.streamId === 1 ? frame.data : '')).join('');
    assert.equal(text, 'hello');
    assert.deepEqual(
      seen.filter((frame) => 'kind' in frame),
      whole.filter((frame) => 'kind' in frame),
    );
    const data = seen.filter((frame) => 'data' in frame && frame.streamId === 1);
    assert.deepEqual(data.map((frame) => 'isLast' in frame && frame.isLast), data.map((_, index) => index === data.length - 1)); // oxfmt-ignore
  }
});

for (const [name, bytes] of Object.entries({
  'another version': hex('8002 0006 00 000004 00000001'),
  'HTTP/2': Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n').fill(0xff, 0, 8),
  'a control frame that is too long': hex('8003 0001 00 004001'),
  'a short SYN_STREAM': hex('8003 0001 00 000004 00000001'),
  'stream 0': hex('8003 0001 00 00000a 00000000 00000000 0000'),
  'data for stream 0': hex('00000000 00 000001 61'),
  'a long PING': hex('8003 0006 00 000005 00000001 00'),
  'a GOAWAY of SPDY/2': hex('8003 0007 00 000004 00000001'),
  'a short WINDOW_UPDATE': hex('8003 0009 00 000004 00000001'),
  'a SETTINGS count that lies': hex('8003 0004 00 00000c ffffffff 00000004 00000064'),
})) {
  test(`createFrameReader() refuses ${name}`, () => assert.throws(() => read(bytes), frames.SpdyError));
}

test('createFrameReader() holds no more than one control frame', () => {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(0x80030001, 0);
  head.writeUIntBE(MAX_CONTROL_BYTES, 5, 3);
  assert.deepEqual(read(head, Buffer.alloc(MAX_CONTROL_BYTES - 1)), []);
});
