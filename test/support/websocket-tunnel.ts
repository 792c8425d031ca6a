// SPDY as binary messages of a WebSocket, from the client's side. By hand, for ws knows no protocol names with a slash.
import { randomBytes } from 'node:crypto';
import { Duplex } from 'node:stream';
import { requestUpgrade, speakSpdy, type TestSpdy } from './spdy-client.ts';

const BINARY = 0x82;

/** Connects with the subprotocol that kubectl uses for port forwarding. */
export async function connectTunnel(url: string): Promise<TestSpdy> {
  const protocol = 'SPDY/3.1+portforward.k8s.io';
  const answer = await requestUpgrade(
    url,
    {
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
      'Sec-WebSocket-Protocol': protocol,
    },
    'GET',
  );
  if (answer.status !== 101 || !answer.text.includes(`Sec-WebSocket-Protocol: ${protocol}\r\n`)) {
    throw new Error(`refused: ${answer.text}`);
  }
  const { socket } = answer;
  let bytes = answer.rest;
  const duplex = new Duplex({
    read: () => void socket.resume(),
    write: (data: Buffer, _encoding, done) => void socket.write(encode(data), done),
    final: (done) => void socket.end(done),
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    for (let frame = decode(bytes); frame; frame = decode(bytes)) {
      bytes = bytes.subarray(frame.length);
      if (frame.isData) duplex.push(frame.data);
    }
  });
  socket.on('close', () => duplex.destroy());
  return speakSpdy(duplex);
}

function encode(data: Buffer): Buffer {
  const mask = randomBytes(4);
  const head = Buffer.alloc(10);
  head.writeUInt8(BINARY, 0);
  head.writeUInt8(0x80 | 127, 1);
  head.writeBigUInt64BE(BigInt(data.length), 2);
  return Buffer.concat([head, mask, data.map((byte, index) => byte ^ (mask[index % 4] ?? 0))]);
}

function decode(bytes: Buffer): { length: number; data: Buffer; isData: boolean } | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes.readUInt8(1);
  const start = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < start) return undefined;
  const size = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  if (bytes.length < start + size) return undefined;
  const isData = (bytes.readUInt8(0) & 0x08) === 0;
  return { length: start + size, data: bytes.subarray(start, start + size), isData };
}
