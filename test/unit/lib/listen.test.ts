import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { parseHostPort } from '../../../lib/host-port.ts';
import { closeServer, listenOn } from '../../../lib/listen.ts';

test('listenOn() says where it listens, and throws when the address is taken', async () => {
  const first = createServer();
  const address = await listenOn(first, { host: '127.0.0.1', port: 0 });
  assert.match(address, /^127\.0\.0\.1:\d+$/);
  const second = createServer();
  await assert.rejects(listenOn(second, parseHostPort(address)), { code: 'EADDRINUSE' });
  assert.match(await listenOn(second, { host: '::1', port: 0 }), /^\[::1\]:\d+$/);
  await Promise.all([first, second].map((server) => closeServer(server)));
  await listenOn(second, parseHostPort(address));
  await closeServer(second);
});

test('closeServer() lets a request that is at work end in its time, and ends the rest', async () => {
  const server = createServer((request, response) => {
    if (request.url === '/soon') setTimeout(() => response.end('done'), 50);
  });
  const { port } = parseHostPort(await listenOn(server, { host: '127.0.0.1', port: 0 }));
  const ask = (path: string): Promise<string> =>
    fetch(`http://127.0.0.1:${port}${path}`).then(
      (answer) => answer.text(),
      () => 'cut off',
    );
  const asked = [once(server, 'request'), ask('/soon'), ask('/never')] as const;
  const idle = connect(port, '127.0.0.1').on('error', () => undefined);
  await Promise.all([asked[0], once(idle, 'connect')]);
  const closing = closeServer(server, { graceMs: 2_000 });
  assert.equal(await asked[1], 'done');
  assert.equal(await asked[2], 'cut off');
  await closing;
});
