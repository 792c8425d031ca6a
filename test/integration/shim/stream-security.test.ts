// Bad input for the streaming server, named after the classes of attack; in the end the shim is as it was before.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { constants, deflateSync } from 'node:zlib';
import { DICTIONARY } from '../../../runtime-shim/streaming/spdy/dictionary.ts';
import { windowUpdate } from '../../../runtime-shim/streaming/spdy/frames.ts';
import { requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { connectSpdy, requestUpgrade, synStream } from '../../support/spdy-client.ts';
import { openStreams, TRANSPORTS, type StreamClient } from '../../support/stream-client.ts';
import { waitFor } from '../../support/wait.ts';

const isLong = process.env['WINDLASS_LONG'] === '1';
const ATTACHES = isLong ? 1_000 : 120;
const MAX_GROWTH_KIB = 100 * 1024;

let shim: TestShim;
let podSandboxId: string;
let containerId: string;
let loud: string;
let idleFds: number;
const isRoot = process.getuid?.() === 0;
before(async () => {
  if (!isRoot) return;
  shim = await startTestShim();
  podSandboxId = await shim.runSandbox('bad');
  const start = async (name: string, script: string): Promise<string> => {
    const id = await shim.create(podSandboxId, {
      metadata: { name, attempt: 0 },
      command: ['sh', '-c', script],
      stdin: true,
      logPath: '',
    });
    await shim.cri.runtime.startContainer({ containerId: id });
    return id;
  };
  containerId = await start('quiet', 'sleep 100000');
  loud = await start('loud', 'while read x; do head -c 3000000 /dev/zero; echo; done');
  await shim.exec(containerId, 'true');
  idleFds = openFds();
});
after(async () => {
  if (isRoot) await shim[Symbol.asyncDispose]();
});

const openFds = (): number => readdirSync(`/proc/${shim.process.pid}/fd`).length;
const rssKib = (): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${shim.process.pid}/status`, 'utf8'))?.[1]);

/** Nothing of what a test did is left: descriptors of the shim, programs in the container. */
async function expectNothingLeft(): Promise<void> {
  // The hubs of two containers, and connections that idle.
  await waitFor(() => openFds() <= idleFds + 4, { what: `${idleFds} open files of the shim`, timeoutMs: 20_000 });
  await waitFor(async () => !/4399/.test(await shim.exec(containerId, 'ps', '-o', 'args')), { what: 'no programs' });
}

const wanted = { stdin: false, stdout: true, stderr: true, tty: false };
const urls = {
  exec: async (...cmd: string[]) => (await shim.cri.runtime.exec({ containerId, cmd, ...wanted })).url,
  attach: async (id = containerId) => (await shim.cri.runtime.attach({ containerId: id, ...wanted })).url,
  portforward: async () => (await shim.cri.runtime.portForward({ podSandboxId })).url,
};
const makers = { exec: () => urls.exec('true'), attach: () => urls.attach(), portforward: urls.portforward } as const;

const upgradeHeaders = (kind: keyof typeof urls, transport: (typeof TRANSPORTS)[number]): Record<string, string> => {
  const name = kind === 'portforward' ? 'portforward.k8s.io' : 'v4.channel.k8s.io';
  if (transport === 'spdy') return { Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': name };
  return {
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    'Sec-WebSocket-Protocol': kind === 'portforward' ? `SPDY/3.1+${name}` : name,
  };
};

async function statusOf(url: string, headers: Record<string, string>): Promise<number> {
  const { status, socket } = await requestUpgrade(url, headers, 'GET');
  socket.destroy();
  return status;
}

for (const kind of ['exec', 'attach', 'portforward'] as const) {
  for (const transport of TRANSPORTS) {
    test(`streaming URL: token reuse, guess, other host header, cross-site (${kind}, ${transport})`, async (t) => {
      if (!requireRoot(t)) return;
      const headers = upgradeHeaders(kind, transport);
      const url = await makers[kind]();
      assert.equal(await statusOf(url, { ...headers, Host: 'evil.example' }), 403);
      assert.equal(await statusOf(url, { ...headers, Origin: 'http://evil.example' }), 403);
      assert.equal(await statusOf(url.replace(/[0-9a-f]{64}/, 'a'.repeat(64)), headers), 404);
      assert.equal(await statusOf(`${url}/../x`, headers), 404);
      // None of these has used it up.
      assert.equal(await statusOf(url, headers), 101);
      assert.equal(await statusOf(url, headers), 404);
      const other = kind === 'exec' ? 'attach' : 'exec';
      const moved = (await makers[kind]()).replace(`/${kind}/`, `/${other}/`);
      assert.equal(await statusOf(moved, upgradeHeaders(other, transport)), 404);
      assert.equal(await statusOf(moved.replace(`/${other}/`, `/${kind}/`), headers), 404);
    });
  }
}

test('streaming URL: neither a plain request nor an unknown protocol gets in', async (t) => {
  if (!requireRoot(t)) return;
  const url = await urls.exec('true');
  assert.equal((await fetch(url)).status, 400);
  assert.equal(await statusOf(url, { Upgrade: 'h2c' }), 400);
  assert.equal(await statusOf(url, { Upgrade: 'SPDY/3.1' }), 400);
  assert.equal(await statusOf(url, { Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': 'v9' }), 403);
  assert.equal(await statusOf(url, upgradeHeaders('exec', 'spdy')), 101);
});

test('streaming URL: SPDY header bomb', async (t) => {
  if (!requireRoot(t)) return;
  const plain = Buffer.alloc(12 * 1024 * 1024);
  const bomb = deflateSync(plain, { dictionary: DICTIONARY, finishFlush: constants.Z_SYNC_FLUSH });
  const before = rssKib();
  for (let index = 0; index < 20; index += 1) {
    using spdy = await connectSpdy(await urls.attach(), 'v4.channel.k8s.io');
    spdy.send(synStream(1, bomb));
    await spdy.closed();
    assert.equal(spdy.goAwayStatus, 1);
  }
  assert.ok(rssKib() - before < MAX_GROWTH_KIB);
  await expectNothingLeft();
});

test('streaming URL: window overflow', async (t) => {
  if (!requireRoot(t)) return;
  using spdy = await connectSpdy(await urls.portforward(), 'portforward.k8s.io');
  spdy.send(windowUpdate(0, 0x7fffffff));
  await spdy.closed();
  assert.equal(spdy.goAwayStatus, 1);
  await expectNothingLeft();
});

test('streaming URL: more streams than a session has are refused', async (t) => {
  if (!requireRoot(t)) return;
  using spdy = await connectSpdy(await urls.attach(), 'v4.channel.k8s.io');
  const streams = Array.from({ length: 500 }, () => spdy.open({ streamtype: 'stdout' }));
  await waitFor(() => streams.slice(1).every(({ resetStatus }) => resetStatus === 3));
  assert.equal(streams[0]?.isTaken, true);
  spdy[Symbol.dispose]();
  await expectNothingLeft();
});

for (const transport of TRANSPORTS) {
  test(`exec/attach exhaustion: an exec that prints without end to a client that does not read (${transport})`, async (t) => {
    if (!requireRoot(t)) return;
    const before = rssKib();
    const clients: StreamClient[] = [];
    for (let index = 0; index < 5; index += 1) {
      const client = await openStreams(await urls.exec('sh', '-c', 'yes 4399'), transport, wanted);
      client.pause();
      clients.push(client);
    }
    // Held back: whatever a program prints, it prints at its client's pace.
    await waitFor(
      async () => (await shim.exec(containerId, 'sh', '-c', 'ps -o stat,args | grep -c "^S.*yes 4399" || true')) >= '5',
    );
    assert.ok(rssKib() - before < MAX_GROWTH_KIB, `${rssKib() - before} KiB more`);
    for (const client of clients) client[Symbol.dispose]();
    await expectNothingLeft();
  });

  test(`exec/attach exhaustion: an exec whose grandchild keeps stdout open (${transport})`, async (t) => {
    if (!requireRoot(t)) return;
    using client = await openStreams(await urls.exec('sh', '-c', 'sleep 4399 & exit 9'), transport, wanted);
    assert.match(JSON.stringify(await client.status()), /"9"/);
    await shim.exec(containerId, 'sh', '-c', 'kill $(ps -o pid,args | awk "/[s]leep 4399/ { print \\$1 }")');
    await expectNothingLeft();
  });
}

test(`exec/attach exhaustion: ${ATTACHES} attaches without reading`, { timeout: 300_000 }, async (t) => {
  if (!requireRoot(t)) return;
  const before = rssKib();
  const idle: StreamClient[] = [];
  for (let index = 0; index < ATTACHES; index += 1) {
    const client = await openStreams(await urls.attach(loud), TRANSPORTS[index % 2] ?? 'spdy', wanted);
    client.pause();
    idle.push(client);
  }
  const flags = { stdin: true, stdout: true, stderr: true, tty: false };
  const { url } = await shim.cri.runtime.attach({ containerId: loud, ...flags });
  // A container has so many clients and no more: one who comes later is told.
  using refused = await openStreams(url, 'spdy', flags);
  assert.match((await refused.status()).message ?? '', /clients are attached/);
  idle.pop();
  for (const client of idle.splice(0, 30)) client[Symbol.dispose]();
  const reading = await waitFor(async () => {
    const again = await shim.cri.runtime.attach({ containerId: loud, ...flags });
    const client = await openStreams(again.url, 'spdy', flags);
    client.write('go\n');
    const isIn = await waitFor(() => client.stdoutBytes > 0, { timeoutMs: 500 }).catch(() => false);
    if (!isIn) client[Symbol.dispose]();
    return isIn ? client : false;
  });
  const expected = (): number => Math.ceil(reading.stdoutBytes / 3_000_001) * 3_000_001;
  await waitFor(() => reading.stdoutBytes === expected(), { what: 'all of the output', timeoutMs: 60_000 });
  const grown = rssKib() - before;
  t.diagnostic(`${ATTACHES} clients cost ${grown} KiB`);
  assert.ok(grown < 2 * MAX_GROWTH_KIB, `${grown} KiB more`);
  reading[Symbol.dispose]();
  for (const client of idle) client[Symbol.dispose]();
  await expectNothingLeft();
});

test('the shim is alive after all that', async (t) => {
  if (!requireRoot(t)) return;
  assert.equal(await shim.exec(containerId, 'echo', 'alive'), 'alive');
  assert.equal((await shim.status(loud)).state, 'CONTAINER_RUNNING');
});
