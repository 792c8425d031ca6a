import assert from 'node:assert/strict';
import { test } from 'node:test';
import { negotiate } from '../../../../runtime-shim/streaming/negotiate.ts';
import { selectPorts } from '../../../../runtime-shim/streaming/port-list.ts';
import type { PortForwardTarget } from '../../../../runtime-shim/streaming/targets.ts';

const spdy = (versions: string) => ({ upgrade: 'SPDY/3.1', 'x-stream-protocol-version': versions });
const webSocket = (protocols: string) => ({ upgrade: 'websocket', 'sec-websocket-protocol': protocols });

test('negotiate() takes the first protocol of the client that is known for what the URL is', () => {
  const all = 'v9.channel.k8s.io, v4.channel.k8s.io, v3.channel.k8s.io, channel.k8s.io';
  assert.deepEqual(negotiate('exec', spdy(all)), { transport: 'spdy', protocol: 'v4.channel.k8s.io' });
  assert.deepEqual(negotiate('attach', spdy('channel.k8s.io')), { transport: 'spdy', protocol: 'channel.k8s.io' });
  assert.deepEqual(negotiate('exec', webSocket('v5.channel.k8s.io,v4.channel.k8s.io')), {
    transport: 'websocket',
    protocol: 'v5.channel.k8s.io',
  });
  assert.deepEqual(negotiate('portforward', webSocket('SPDY/3.1+portforward.k8s.io')), {
    transport: 'websocket',
    protocol: 'SPDY/3.1+portforward.k8s.io',
  });
});

test('negotiate() refuses what it does not know, and says what it does', () => {
  assert.deepEqual(negotiate('portforward', spdy('v4.channel.k8s.io')), {
    status: '403 Forbidden',
    reason: 'unable to upgrade: client supports [v4.channel.k8s.io], server supports [portforward.k8s.io]',
    headers: { 'X-Accepted-Stream-Protocol-Versions': 'portforward.k8s.io' },
  });
  for (const headers of [webSocket('base64.channel.k8s.io'), webSocket(''), spdy(''), { upgrade: 'h2c' }, {}]) {
    const answer = negotiate('exec', headers);
    assert.equal('status' in answer && answer.status, '400 Bad Request');
  }
});

test('selectPorts() takes the ports of the query, within those of the request', () => {
  const any: PortForwardTarget = { kind: 'portforward', sandboxId: 'a', ports: [] };
  const some = { ...any, ports: [80, 443] };
  assert.deepEqual(selectPorts('/x?port=80&port=81', any), [80, 81]);
  assert.deepEqual(selectPorts('/x?ports=80,81', any), [80, 81]);
  assert.deepEqual(selectPorts('/x', some), [80, 443]);
  assert.deepEqual(selectPorts('/x?port=443', some), [443]);
  for (const url of ['/x?port=81', '/x?port=80.5', '/x?port=', '/x?port=1e2']) {
    assert.equal(selectPorts(url, some), undefined, url);
  }
  assert.equal(selectPorts('/x', any), undefined);
  assert.equal(selectPorts(`/x?ports=${Array.from({ length: 65 }, (_, port) => port + 1).join(',')}`, any), undefined);
});
