import assert from 'node:assert/strict';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import { askServer } from '../../../../cli/join/server-facts.ts';
import { keyHashOf } from '../../../../lib/certificate-request.ts';
import { createAuthority, issueCertificate } from '../../../../lib/pki.ts';

test('askServer() names the server that answers something else than a version', async (t) => {
  const now = Date.now();
  const authority = await createAuthority('ca', 1, now);
  const pair = await issueCertificate(authority, {
    ...{ commonName: 'x', hosts: ['127.0.0.1'], usage: 'server', days: 1, now },
  });
  let version = '{"gitVersion":"v1.32.4+windlass-0.1.0"}';
  const server = createServer({ ...pair }, (request, response) =>
    response.end(request.url === '/ca.crt' ? authority.cert : version),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => void server.close());
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const ask = () => askServer(url, keyHashOf(authority.cert), AbortSignal.timeout(30_000));

  assert.equal((await ask()).version, '0.1.0');
  for (const wrong of ['<html>', 'null', '{"gitVersion":1}']) {
    version = wrong;
    await assert.rejects(ask(), {
      reason: 'Unavailable',
      message: `--server ${url} answers 200 to /version, and no version`,
    });
  }
});
