import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeEcho, encodeRequest } from '../../../../runtime-shim/host/icmp.ts';

const ipHeader = (words = 5): Buffer => {
  const header = Buffer.alloc(words * 4);
  header[0] = 0x40 | words;
  header.set([10, 255, 0, 3], 12);
  return header;
};

test('encodeRequest() makes an echo request whose checksum is right, of odd length too', () => {
  assert.equal(encodeRequest(0x1234, Buffer.from('ab')).toString('hex'), '0800846912340000' + '6162');
  for (const payload of ['', 'odd', 'even']) {
    const message = encodeRequest(7, Buffer.from(payload));
    const padded = Buffer.concat([message, Buffer.alloc(message.length % 2)]);
    let sum = 0;
    for (let index = 0; index < padded.length; index += 2) sum += padded.readUInt16BE(index);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    assert.equal(sum, 0xffff, JSON.stringify(payload));
  }
});

test('decodeEcho() reads sender, id and payload behind an IP header of any length', () => {
  const request = encodeRequest(9, Buffer.from('hello'));
  for (const words of [5, 7])
    assert.deepEqual(decodeEcho(Buffer.concat([ipHeader(words), request])), {
      ...{ kind: 'request', from: '10.255.0.3', id: 9, payload: Buffer.from('hello') },
    });
  const reply = Buffer.from(request);
  reply[0] = 0;
  assert.equal(decodeEcho(Buffer.concat([ipHeader(), reply]))?.kind, 'reply');
});

test('decodeEcho() makes nothing of other messages and of what is cut off', () => {
  const unreachable = encodeRequest(9, Buffer.alloc(0));
  unreachable[0] = 3;
  for (const packet of [
    Buffer.alloc(0),
    ipHeader(),
    ipHeader(15).subarray(0, 24),
    Buffer.concat([ipHeader(), unreachable]),
    Buffer.concat([ipHeader(), Buffer.of(8, 0, 0)]),
    Buffer.concat([Buffer.of(0x41), Buffer.alloc(40)]),
  ])
    assert.equal(decodeEcho(packet), undefined, packet.toString('hex'));
});
