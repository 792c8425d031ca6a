import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { createServerList } from '../../../../../controllers/node-agent/node/server-list.ts';
import { silentLogger } from '../../../../../lib/log.ts';
import { createFakeClock } from '../../../../support/fake-clock.ts';

test('the agent learns of the servers, keeps them in a file, and is not misled by who cannot say', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'windlass-servers-'));
  t.after(() => rmSync(home, { recursive: true }));
  const server = (name: string) => ({ name, url: `https://${name}`, peerUrl: 'https://p:1', role: 'Member' });
  const told: string[][] = [];
  let answer: { status: number; body: string } = { status: 200, body: '{"servers":[]}' };
  const client = {
    raw: async () => answer,
    setServers: (urls: readonly string[]) => void told.push([...urls]),
  };
  const clock = createFakeClock(0);
  const stop = new AbortController();
  const running = createServerList({ client, home, clock, log: silentLogger() }).run(stop.signal);
  await clock.advance(60_000);
  assert.equal(existsSync(join(home, 'servers.json')), false);
  const body = JSON.stringify({
    servers: [server('a:1'), server('b:1'), { name: 'c', peerUrl: 'https://c:1', role: 'Joining' }],
  });
  answer = { status: 200, body };
  await clock.advance(120_000);
  for (const wrong of [
    { status: 503, body: '' },
    { status: 200, body: '<html>' },
    { status: 200, body: '{"servers":[]}' },
  ]) {
    answer = wrong;
    await clock.advance(60_000);
  }
  stop.abort();
  await running;
  assert.deepEqual(told, [['https://a:1', 'https://b:1']]);
  assert.deepEqual(JSON.parse(readFileSync(join(home, 'servers.json'), 'utf8')), told[0]);
});
