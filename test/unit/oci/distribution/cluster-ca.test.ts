import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { createAuthority, issueCertificate } from '../../../../lib/pki.ts';
import { createRegistryClient } from '../../../../oci/distribution/create-registry-client.ts';

test('createRegistryClient() trusts the authority of the cluster beside those of the system', async (t) => {
  const authority = await createAuthority('cluster', 1, Date.now());
  const pair = await issueCertificate(authority, {
    ...{ commonName: 'registry', hosts: ['127.0.0.1'], usage: 'server', days: 1, now: Date.now() },
  });
  const server = createServer(pair, (_, response) => void response.writeHead(404).end('{}'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  const registry = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const registries = { registries: { [registry]: { mirrors: [], plainHttp: false, tokenHosts: [] } } };
  const resolve = async (ca?: string): Promise<unknown> => {
    const client = createRegistryClient({ registries, retryDelayMs: 1, ca: () => ca });
    try {
      return await client.resolve({ registry, repository: 'a', tag: '1' }, { signal: AbortSignal.timeout(30_000) });
    } finally {
      await client.close();
    }
  };
  await assert.rejects(resolve(), { reason: 'Unavailable' });
  await assert.rejects(resolve(authority.cert), { reason: 'NotFound' });
});
