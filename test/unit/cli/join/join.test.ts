import assert from 'node:assert/strict';
import test from 'node:test';
import { clockProblem, versionProblem } from '../../../../cli/join/compare-machines.ts';
import { readToken } from '../../../../cli/join/token-source.ts';
import { nodeOptions, serverOptions } from '../../../../cli/options.ts';
import { withoutFlags } from '../../../../cli/run-instance.ts';
import { advertisedUrl } from '../../../../cli/server-plan.ts';
import { parseDuration, renderJoinCommand, renderTokens } from '../../../../cli/tokens/render.ts';

test('clocks may differ by two and a half minutes', () => {
  const server = Date.parse('2026-01-01T00:00:00Z');
  assert.equal(clockProblem(server + 150_000, server), undefined);
  assert.equal(clockProblem(server, undefined), undefined);
  assert.match(clockProblem(server + 151_000, server) ?? '', /is 151 s ahead of the server's/);
  assert.match(clockProblem(server - 3_600_000, server) ?? '', /is 3600 s behind the server's/);
});

test("a node is of its server's version or the one before", () => {
  assert.equal(versionProblem('0.1.0', '0.1.7'), undefined);
  assert.equal(versionProblem('0.1.0', '0.2.0'), undefined);
  assert.equal(versionProblem('0.1.0', ''), undefined);
  for (const [own, server] of [
    ['0.2.0', '0.1.9'],
    ['0.1.0', '0.3.0'],
    ['1.0.0', '0.9.0'],
  ] as const) {
    assert.match(
      versionProblem(own, server) ?? '',
      new RegExp(`windlass ${own} cannot join a server of windlass ${server}`),
    );
  }
});

test('a token is never quoted back', () => {
  assert.equal(readToken({}), undefined);
  assert.equal(readToken({ token: 'abcdef.0123456789abcdef' }), 'abcdef.0123456789abcdef');
  assert.throws(
    () => readToken({ token: 'abcdef.0123456789abcde' }),
    ({ message }: Error) => message.includes('invalid --token') && !message.includes('abcde '),
  );
  assert.throws(() => readToken({ token: 'a', tokenFile: 'b' }), /not both/);
  assert.throws(() => readToken({ tokenFile: '/nonexistent' }), /cannot read the token of --token-file/);
});

test('flags for the process in front do not reach the one behind', () => {
  const flags = [
    { name: '--detach', hasValue: false },
    { name: '--token', hasValue: true },
  ];
  const argv = ['--detach', '--home', '/h', '--token', 'secret', '--token=secret', '--token-file', 'f', '--run', '/r'];
  assert.deepEqual(withoutFlags(argv, flags), ['--home', '/h', '--token-file', 'f', '--run', '/r']);
});

test('servers are https URLs, one or more', () => {
  const parse = (server: string): readonly string[] | undefined => nodeOptions.safeParse({ server }).data?.server;
  assert.deepEqual(parse('https://a:6443/, https://[fd00::1]:6443'), ['https://a:6443', 'https://[fd00::1]:6443']);
  for (const wrong of ['http://a:6443', 'a:6443', 'https://a:6443/path', 'https://a:x', '']) {
    assert.equal(parse(wrong), undefined, wrong);
  }
});

test('a server says how it is reached', () => {
  assert.equal(serverOptions.parse({}).listen, '0.0.0.0:6443');
  assert.equal(advertisedUrl('0.0.0.0:6443', 'cluster.example'), 'https://cluster.example:6443');
  assert.equal(advertisedUrl('[::]:6443', 'fd00::1'), 'https://[fd00::1]:6443');
  assert.equal(advertisedUrl('10.0.0.1:7443'), 'https://10.0.0.1:7443');
  assert.equal(serverOptions.safeParse({ advertise: '10.0.0.1:6443' }).success, false);
});

test('durations, the join command and the list of tokens', () => {
  assert.deepEqual(['90s', '30m', '24h', '7d', '0'].map(parseDuration), [90, 1_800, 86_400, 604_800, 0]);
  assert.deepEqual(['', '0h', '1', '-1h', '1w', '1.5h'].map(parseDuration), Array(6).fill(undefined));
  assert.equal(
    renderJoinCommand({ url: 'https://a:6443', token: 'abcdef.0123456789abcdef', caHash: 'sha256:00' }),
    'windlass node --server https://a:6443 --token abcdef.0123456789abcdef --ca-hash sha256:00',
  );
  assert.equal(
    renderJoinCommand({ url: 'https://a:6443', token: 'abcdef.0123456789abcdef', caHash: 'sha256:00', role: 'server' }),
    'windlass server --join https://a:6443 --token abcdef.0123456789abcdef --ca-hash sha256:00',
  );
  const facts = { role: 'node' as const, description: '', uses: undefined, used: 0, expiresAt: undefined };
  const table = renderTokens(
    [
      { ...facts, id: 'abcdef', uses: 2, used: 1, expiresAt: 3_600_000, description: 'rack' },
      { ...facts, id: 'ghijkl' },
      { ...facts, id: 'mnopqr', role: 'server', expiresAt: -1 },
    ],
    0,
  );
  assert.deepEqual(
    table.split('\n').map((line) => line.split(/ {2,}/)),
    [
      ['TOKEN', 'ROLE', 'EXPIRES', 'USES', 'DESCRIPTION'],
      ['abcdef', 'node', 'in 60 min', '1 of 2', 'rack'],
      ['ghijkl', 'node', 'never', 'any'],
      ['mnopqr', 'server', 'expired', 'any'],
    ],
  );
});
