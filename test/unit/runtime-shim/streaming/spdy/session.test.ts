import assert from 'node:assert/strict';
import { duplexPair, type Duplex } from 'node:stream';
import { test } from 'node:test';
import { controlFrame, dataHeader, FRAME, goAway, ping, RST, rstStream, windowUpdate } from '../../../../../runtime-shim/streaming/spdy/frames.ts'; // oxfmt-ignore
import { SpdySession } from '../../../../../runtime-shim/streaming/spdy/session.ts';
import { speakSpdy, synStream, type TestSpdy } from '../../../../support/spdy-client.ts';
import { waitFor } from '../../../../support/wait.ts';

interface Both {
  readonly client: TestSpdy;
  readonly session: SpdySession;
  /** What the server got, in order. */
  readonly streams: Duplex[];
}

function connect(maxStreams = 8): Both {
  const [near, far] = duplexPair();
  const streams: Duplex[] = [];
  const session = new SpdySession(near, {
    maxStreams,
    onStream: ({ duplex, headers }) => {
      if (headers.get('streamtype') === 'unwanted') return false;
      streams.push(duplex);
      return true;
    },
  });
  return { client: speakSpdy(far), session, streams };
}

async function openOne(both: Both): Promise<{ stream: ReturnType<TestSpdy['open']>; duplex: Duplex }> {
  const count = both.streams.length;
  const stream = both.client.open({ streamtype: 'data' });
  const duplex = await waitFor(() => both.streams[count], { what: 'the stream' });
  return { stream, duplex };
}

const initialWindow = (bytes: number): Buffer => {
  const payload = Buffer.alloc(12);
  payload.writeUInt32BE(1, 0);
  payload.writeUInt32BE(7, 4);
  payload.writeUInt32BE(bytes, 8);
  return controlFrame(FRAME.settings, 0, payload);
};

test('SpdySession carries both directions and their ends one by one', async () => {
  const both = connect();
  const { stream, duplex } = await openOne(both);
  stream.write('to the server');
  stream.end();
  const text = (await duplex.toArray()).join('');
  assert.equal(text, 'to the server');
  duplex.write('to the ');
  duplex.end('client');
  await stream.ended();
  assert.equal(stream.text, 'to the client');
  assert.equal(stream.resetStatus, undefined);
});

test('SpdySession answers pings of the client and no others', async () => {
  const { client } = connect();
  client.send(Buffer.concat([ping(2), ping(41)]));
  await waitFor(() => client.pings.length > 0);
  assert.deepEqual(client.pings, [41]);
});

test('a destroyed stream is reset, and a stream that the client resets is closed', async () => {
  const both = connect();
  const one = await openOne(both);
  one.duplex.destroy();
  await waitFor(() => one.stream.resetStatus === RST.cancel, { what: 'the reset' });
  const two = await openOne(both);
  both.client.send(rstStream(two.stream.id, RST.cancel));
  await waitFor(() => two.duplex.destroyed, { what: 'the end of the stream' });
  assert.equal(two.stream.resetStatus, undefined);
});

test('streams that are not wanted, or too many, are refused and the others go on', async () => {
  const both = connect(2);
  const kept = await openOne(both);
  await openOne(both);
  const unwanted = both.client.open({ streamtype: 'unwanted' });
  const third = both.client.open({ streamtype: 'data' });
  await waitFor(() => unwanted.resetStatus === RST.refusedStream && third.resetStatus === RST.refusedStream);
  kept.duplex.end('still here');
  await kept.stream.ended();
  assert.equal(kept.stream.text, 'still here');
});

test('after a GOAWAY no stream is taken, and the connection ends with the last', async () => {
  const both = connect();
  const { stream, duplex } = await openOne(both);
  both.client.send(goAway(0, 0));
  both.client.open({ streamtype: 'data' });
  duplex.end('last words');
  await stream.ended();
  assert.equal(stream.text, 'last words');
  assert.equal(both.streams.length, 1);
});

test('a client without windows gets everything, however much', async () => {
  const both = connect();
  const { stream, duplex } = await openOne(both);
  const data = Buffer.alloc(1_000_000, 'x');
  duplex.end(data);
  await stream.ended();
  assert.equal(Buffer.concat(stream.received).length, data.length);
});

test('a client with windows gets what they allow, and the rest when they open', async () => {
  const both = connect();
  both.client.send(initialWindow(1000));
  const { stream, duplex } = await openOne(both);
  const size = (): number => Buffer.concat(stream.received).length;
  duplex.end(Buffer.alloc(100_000, 'x'));
  await waitFor(() => size() === 1000);
  both.client.send(windowUpdate(stream.id, 500));
  await waitFor(() => size() === 1500);
  both.client.send(windowUpdate(stream.id, 1_000_000));
  // Now the window of the connection is the bound.
  await waitFor(() => size() === 65_536);
  both.client.send(windowUpdate(0, 1_000_000));
  await stream.ended();
  assert.equal(size(), 100_000);
});

test('what is read is credited, to the stream and to the connection', async () => {
  const both = connect();
  const { stream, duplex } = await openOne(both);
  duplex.resume();
  for (let index = 0; index < 20; index += 1) stream.write(Buffer.alloc(10_000));
  await waitFor(() => (both.client.credits.get(0) ?? 0) > 150_000);
  assert.ok((both.client.credits.get(stream.id) ?? 0) > 150_000);
});

test('window overflow: data beyond the window of a client that has windows resets the stream', async () => {
  const both = connect();
  both.client.send(initialWindow(1000));
  const { stream, duplex } = await openOne(both);
  stream.write(Buffer.alloc(60_000));
  both.client.send(windowUpdate(stream.id, 1));
  stream.write(Buffer.alloc(5_536));
  stream.write(Buffer.alloc(1));
  await both.client.closed();
  assert.equal(both.client.goAwayStatus, 1);
  assert.ok(duplex.destroyed);
});

test('window overflow: an update beyond 2^31-1 resets the stream, or ends the connection', async () => {
  const both = connect();
  const { stream } = await openOne(both);
  both.client.send(windowUpdate(stream.id, 0x7fffffff));
  await waitFor(() => stream.resetStatus === RST.flowControlError);
  both.client.send(windowUpdate(0, 0x7fffffff));
  await both.client.closed();
  assert.equal(both.client.goAwayStatus, 1);
});

test('a client without windows that sends without end is held back, and goes on when it is read', async () => {
  const both = connect();
  const { stream, duplex } = await openOne(both);
  const piece = Buffer.alloc(64 * 1024);
  const total = 100;
  let sent = 0;
  const sendAll = (async () => {
    for (; sent < total; sent += 1) {
      const isTaken = both.client.socket.write(Buffer.concat([dataHeader(stream.id, piece.length, false), piece]));
      if (!isTaken) await new Promise((resolve) => both.client.socket.once('drain', resolve));
    }
    stream.end();
  })();
  await waitFor(() => both.client.socket.writableNeedDrain && sent >= 16);
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(sent * piece.length < 1.5 * 1024 * 1024, `${sent} pieces were taken`);
  let size = 0;
  for await (const chunk of duplex) size += (chunk as Buffer).length;
  await sendAll;
  assert.equal(size, total * piece.length);
});

test('a flood of pings from a client that does not read ends the connection', async () => {
  const [near, far] = duplexPair();
  const session = new SpdySession(near, { maxStreams: 1, onStream: () => false });
  const flood = Buffer.concat(Array.from({ length: 1000 }, () => ping(1)));
  for (let index = 0; index < 20; index += 1) far.write(flood);
  await session.closed;
});

for (const [name, bytes] of Object.entries({
  'a stream with an even number': synStream(2, Buffer.alloc(0)),
  'data for a stream that was never opened': Buffer.concat([dataHeader(99, 1, false), Buffer.from('x')]),
  'a header block that is none': synStream(1, Buffer.from('garbage')),
  'a window update of nothing': windowUpdate(0, 0),
  'an initial window that is too large': initialWindow(0x80000000),
  'bytes of another protocol': Buffer.from('\xffET / HTTP/1.1\r\nHost: x\r\n\r\n', 'latin1'),
})) {
  test(`${name} ends the connection with a GOAWAY and closes its streams`, async () => {
    const both = connect();
    const { duplex } = await openOne(both);
    both.client.send(bytes);
    await both.client.closed();
    await both.session.closed;
    assert.equal(both.client.goAwayStatus, 1);
    assert.ok(duplex.destroyed);
  });
}

test('a client that leaves closes its streams', async () => {
  const both = connect();
  const { duplex } = await openOne(both);
  both.client.socket.destroy();
  both.client.socket.end();
  await waitFor(() => duplex.destroyed);
  await both.session.closed;
});
