import assert from 'node:assert/strict';
import { test } from 'node:test';
import { redirectTarget } from '../../../../oci/distribution/transport.ts';
import { parseChallenge } from '../../../../oci/distribution/challenge.ts';
import { endpointsOf, mayGetCredentials, parseRegistriesConfig } from '../../../../oci/distribution/registries.ts';

const config = parseRegistriesConfig({
  registries: {
    'docker.io': { mirrors: ['http://127.0.0.1:5050/'] },
    'r.example.com': { tokenHosts: ['id.example.org'] },
  },
});

test('endpointsOf() puts mirrors first, and speaks plain HTTP to loopback only', () => {
  assert.deepEqual(
    endpointsOf('docker.io', config).map(({ origin }) => origin),
    ['http://127.0.0.1:5050', 'https://registry-1.docker.io'],
  );
  const origin = (host: string): string | undefined => endpointsOf(host, config)[0]?.origin;
  assert.equal(origin('localhost:5000'), 'http://localhost:5000');
  assert.equal(origin('127.1.2.3:80'), 'http://127.1.2.3');
  assert.equal(origin('[::1]:5000'), 'http://[::1]:5000');
  for (const host of ['example.com', '10.0.0.1:5000', 'localhost.example.com', '127.0.0.1.example.com']) {
    assert.match(origin(host) ?? '', /^https:/, host);
  }
});

test('parseRegistriesConfig() names what is wrong', () => {
  const bad = [
    { registries: { a: { mirrors: ['ftp://x'] } } },
    { registries: { a: { mirror: [] } } },
    { other: 1 },
    [],
  ];
  for (const document of bad) assert.throws(() => parseRegistriesConfig(document), { reason: 'BadRequest' });
  assert.throws(() => parseRegistriesConfig({ registries: { a: { mirrors: ['http://u:p@x'] } } }), /want http/);
});

test('mayGetCredentials() keeps credentials within the domain of the registry', () => {
  const may = (realm: string, registry: string): boolean => {
    const endpoint = endpointsOf(registry, config).at(-1);
    return endpoint !== undefined && mayGetCredentials(new URL(realm), endpoint);
  };
  const allowed: [string, string][] = [
    ['https://auth.docker.io/token', 'docker.io'],
    ['https://ghcr.io/token', 'ghcr.io'],
    ['https://example.com/t', 'registry.example.com'],
    ['https://id.example.org/t', 'r.example.com'],
    ['http://127.0.0.1:5001/t', '127.0.0.1:5000'],
    ['https://127.0.0.1:5001/t', '127.0.0.1:5000'],
  ];
  const refused: [string, string][] = [
    ['http://auth.docker.io/token', 'docker.io'],
    ['https://evil.com/token', 'docker.io'],
    ['https://docker.io.evil.com/token', 'docker.io'],
    ['https://evildocker.io/token', 'docker.io'],
    ['https://b.co.uk/t', 'a.co.uk'],
    ['https://10.0.0.2/t', '10.0.0.1'],
    ['http://10.0.0.2/t', '127.0.0.1:5000'],
    ['https://other.example.org/t', 'r.example.com'],
  ];
  for (const [realm, registry] of allowed) assert.equal(may(realm, registry), true, `${realm} for ${registry}`);
  for (const [realm, registry] of refused) assert.equal(may(realm, registry), false, `${realm} for ${registry}`);
});

test('parseChallenge() prefers bearer and reads quoted values', () => {
  assert.deepEqual(
    parseChallenge('Bearer realm="https://a/t?x=1,2",service="s \\"q\\"",scope="repository:a:pull,push"'),
    {
      kind: 'bearer',
      realm: 'https://a/t?x=1,2',
      service: 's "q"',
      scope: 'repository:a:pull,push',
    },
  );
  assert.deepEqual(parseChallenge(['Basic realm="x"', 'bearer realm=https://a']), {
    kind: 'bearer',
    realm: 'https://a',
  });
  assert.deepEqual(parseChallenge('Basic realm="x"'), { kind: 'basic' });
  for (const header of [undefined, '', 'Digest x="y"', 'Bearer service="s"', 'x'.repeat(100_000)]) {
    assert.equal(parseChallenge(header), undefined);
  }
});

test('credential leaks: redirectTarget() refuses to leave TLS, and takes names and passwords out of addresses', () => {
  const from = new URL('https://r.example.com/v2/a/blobs/x');
  assert.equal(redirectTarget(from, '/b?c=1', 0).href, 'https://r.example.com/b?c=1');
  assert.equal(redirectTarget(from, 'https://user:pass@cdn.example.net/x', 0).href, 'https://cdn.example.net/x');
  assert.throws(() => redirectTarget(from, 'http://r.example.com/x', 0), { reason: 'Forbidden', message: /to http/ });
  for (const location of ['file:///etc/passwd', 'ftp://x/y', 'javascript:1', 'http://[']) {
    assert.throws(() => redirectTarget(from, location, 0), { reason: 'Invalid' }, location);
  }
  assert.throws(() => redirectTarget(from, '/again', 5), { reason: 'Unavailable', message: /more than 5 times/ });
});
