import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matchUnanswered } from '../../../../runtime-shim/host/conntrack.ts';
import { encodeAttributes } from '../../../../runtime-shim/host/netlink.ts';

const [UDP, TCP] = [17, 6];
const [SEEN_REPLY, DESTINATION_CHANGED] = [1 << 1, 1 << 5];

function tuple(source: string, protocol: number): Buffer {
  const ip = Buffer.from(source.split('.').map(Number));
  return encodeAttributes([
    [1, encodeAttributes([[1, ip]])],
    [2, encodeAttributes([[1, Buffer.of(protocol)]])],
  ]);
}

/** A flow of a client that is led to `server`, as the kernel lists it. */
function flow(protocol: number, server: string, status: number) {
  const bits = Buffer.alloc(4);
  bits.writeUInt32BE(status);
  const attributes = encodeAttributes([
    [1, tuple('192.0.2.1', protocol)],
    [2, tuple(server, protocol)],
    [3, bits],
  ]);
  return { type: 0, flags: 0, body: Buffer.concat([Buffer.alloc(4), attributes]) } as never;
}

test('matchUnanswered() finds what was led to a server that has not answered it', () => {
  const isFound = (...args: Parameters<typeof flow>): boolean =>
    matchUnanswered(flow(...args), new Set(['10.255.0.2'])) !== undefined;
  for (const protocol of [TCP, UDP]) {
    assert.equal(isFound(protocol, '10.255.0.2', DESTINATION_CHANGED), true);
    assert.equal(isFound(protocol, '10.255.0.2', DESTINATION_CHANGED | SEEN_REPLY), false, 'answered');
    assert.equal(isFound(protocol, '10.255.0.3', DESTINATION_CHANGED), false, 'another server');
    assert.equal(isFound(protocol, '10.255.0.2', 0), false, 'not led');
  }
  assert.equal(isFound(1, '10.255.0.2', DESTINATION_CHANGED), false, 'neither TCP nor UDP');
});
