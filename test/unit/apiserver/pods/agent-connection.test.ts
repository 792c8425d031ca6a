import assert from 'node:assert/strict';
import { createServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import test from 'node:test';
import { createAgentConnections } from '../../../../apiserver/pods/agent-connection.ts';
import { createAuthority, issueCertificate } from '../../../../lib/pki.ts';

test('an agent is taken at any address, and for no node but its own', async (t) => {
  const now = Date.now();
  const [authority, stranger] = [await createAuthority('ca', 1, now), await createAuthority('other', 1, now)];
  const serve = async (signer: typeof authority, commonName: string, usage: 'client' | 'server'): Promise<number> => {
    // No name or address in it that the caller could have meant.
    const { cert, key } = await issueCertificate(signer, { commonName, usage, hosts: ['elsewhere'], days: 1, now });
    const server = createServer({ cert, key }, (_, response) => response.end('ok'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    return (server.address() as AddressInfo).port;
  };
  const own = await issueCertificate(authority, { commonName: 'windlass:apiserver', usage: 'client', days: 1, now });
  const agents = createAgentConnections({ ...own, ca: authority.cert });
  const { signal } = new AbortController();
  const address = (port: number, nodeName = 'a') => ({ nodeName, host: '127.0.0.1', port });

  const port = await serve(authority, 'system:node:a', 'server');
  const response = await agents.get(address(port), '/', signal);
  assert.equal(response.statusCode, 200);
  response.resume();
  (await agents.open(address(port), signal)).destroy();

  // Also at an address at which another node's agent has just been talked to.
  const wrong =
    /the agent of node "b" at .* cannot be reached: its certificate is that of system:node:a, not of system:node:b/;
  await assert.rejects(agents.get(address(port, 'b'), '/', signal), wrong);
  await assert.rejects(agents.open(address(port, 'b'), signal), wrong);
  const forged = await serve(stranger, 'system:node:a', 'server');
  await assert.rejects(agents.get(address(forged), '/', signal), /cannot be reached: unable to/);
  const misused = await serve(authority, 'system:node:a', 'client');
  await assert.rejects(agents.get(address(misused), '/', signal), /cannot be reached: unsuitable certificate purpose/);
});

test('what takes a connection and says nothing is given up in time', async (t) => {
  const authority = await createAuthority('ca', 1, Date.now());
  const silent = createTcpServer((socket) => t.after(() => socket.destroy()));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  t.after(() => void silent.close());
  const agents = createAgentConnections({ ...authority, ca: authority.cert }, 50);
  const address = { nodeName: 'a', host: '127.0.0.1', port: (silent.address() as AddressInfo).port };
  const { signal } = new AbortController();
  await assert.rejects(agents.get(address, '/', signal), /cannot be reached: no answer in time/);
  await assert.rejects(agents.open(address, signal), /cannot be reached: no answer in time/);
});
