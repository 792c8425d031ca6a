import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { kernelNames } from '../../../lib/instance.ts';
import { encodeAnswer, parseQuestion, RCODE, TYPE } from '../../../runtime-shim/network/dns/message.ts';
import {
  becomePrivateHost,
  makeNetwork,
  startNetwork,
  type NetworkHarness,
  type Sandbox,
} from '../../support/node-network.ts';
import { waitFor } from '../../support/wait.ts';

const isRoot = process.getuid?.() === 0;

describe('names inside networks', { skip: isRoot ? false : 'needs root' }, () => {
  let harness: NetworkHarness;
  let upstream: Socket;
  let web: Sandbox;
  let client: Sandbox;
  let inside: Sandbox;
  const asked: string[] = [];

  before(async () => {
    becomePrivateHost();
    upstream = createSocket('udp4');
    upstream.on('message', (query, peer) => {
      const parsed = parseQuestion(query);
      if (parsed.kind !== 'question') return;
      asked.push(parsed.question.name);
      if (parsed.question.name.startsWith('silent')) return;
      const answer = encodeAnswer(
        parsed.question,
        RCODE.noError,
        [{ type: TYPE.a, data: Buffer.of(198, 51, 100, 7) }],
        512,
      );
      // A forged answer with a wrong id comes first and must not be taken.
      const forged = Buffer.from(answer);
      forged.writeUInt16BE((parsed.question.id + 1) & 0xffff, 0);
      forged[forged.length - 1] = 66;
      upstream.send(forged, peer.port, peer.address);
      upstream.send(answer, peer.port, peer.address);
    });
    upstream.bind(5300, '127.0.0.1');
    await once(upstream, 'listening');
    harness = await startNetwork({ upstreamResolvers: ['127.0.0.1:5300'] });
    await harness.network.ensureNetwork(makeNetwork(201));
    await harness.network.ensureNetwork(makeNetwork(202));
    await harness.network.ensureNetwork(makeNetwork(203, { internal: true }));
    web = await harness.addSandbox('web', [{ network: 'default/net201', names: ['web', 'alias'] }]);
    client = await harness.addSandbox('client', ['default/net201']);
    inside = await harness.addSandbox('inside', ['default/net203']);
  });

  after(async () => {
    upstream.close();
    await harness[Symbol.asyncDispose]();
  });

  it('answers short names, full names, aliases and addresses of its network', async () => {
    const gateway = '10.201.0.1';
    assert.equal(await client.peer.resolve(gateway, 'web'), web.ip);
    assert.equal(await client.peer.resolve(gateway, 'WEB.default.'), web.ip);
    assert.equal(await client.peer.resolve(gateway, 'alias'), web.ip);
    assert.equal(
      await client.peer.resolve(gateway, `${web.ip.split('.').toReversed().join('.')}.in-addr.arpa`, 'PTR'),
      'web.default',
    );
    harness.network.setNames(
      new Map([
        [
          'default/net201',
          {
            names: new Map([
              ['svc', ['10.201.0.240']],
              ['all', ['10.201.0.2', '10.201.0.3']],
              ['nobody-left', []],
            ]),
            elsewhere: new Map([
              ['far', ['10.201.0.99']],
              ['alias', ['10.201.0.99']],
            ]),
          },
        ],
      ]),
    );
    assert.equal(await client.peer.resolve(gateway, 'svc'), '10.201.0.240');
    assert.equal(await client.peer.resolve(gateway, 'all.default'), '10.201.0.2 10.201.0.3');
    assert.equal(await client.peer.resolve(gateway, 'far'), '10.201.0.99');
    assert.equal(await client.peer.resolve(gateway, 'alias'), `${web.ip} 10.201.0.99`, 'here and elsewhere');
    assert.equal(await client.peer.resolve(gateway, '99.0.201.10.in-addr.arpa', 'PTR'), 'far.default');
    await assert.rejects(client.peer.resolve(gateway, 'nobody-left'), /ENODATA/);
    await assert.rejects(client.peer.resolve(gateway, 'web', 'AAAA'), /ENODATA/, 'no IPv6 is answered at once');
    assert.deepEqual(asked, []);
  });

  it('unknown names of the network stay on the node; others are forwarded', async () => {
    await assert.rejects(client.peer.resolve('10.201.0.1', 'nobody'), /ENOTFOUND/);
    await assert.rejects(client.peer.resolve('10.201.0.1', 'nobody.default'), /ENOTFOUND/);
    assert.deepEqual(asked, [], 'nothing leaked');
    assert.equal(await client.peer.resolve('10.201.0.1', 'example.org'), '198.51.100.7');
    assert.deepEqual(asked.splice(0), ['example.org']);
  });

  it('internal networks forward nothing', async () => {
    assert.equal(await inside.peer.resolve('10.203.0.1', 'inside'), inside.ip);
    await assert.rejects(inside.peer.resolve('10.203.0.1', 'example.org'), /ENOTFOUND/);
    assert.deepEqual(asked, []);
  });

  it("names of another network are not given out, not even at that network's gateway", async () => {
    const stranger = await harness.addSandbox('stranger', ['default/net202']);
    await assert.rejects(stranger.peer.resolve('10.202.0.1', 'web'), /ENOTFOUND/);
    await assert.rejects(stranger.peer.resolve('10.201.0.1', 'web'), /ETIMEOUT/);
  });

  it('a container in two networks knows the names of both', async () => {
    const both = await harness.addSandbox('both', ['default/net202', 'default/net203']);
    assert.equal(await both.peer.resolve('10.202.0.1', 'inside'), inside.ip);
    assert.equal(await both.peer.resolve('10.202.0.1', 'example.org'), '198.51.100.7');
    await assert.rejects(both.peer.resolve('10.202.0.1', 'web'), /ENOTFOUND/);
    asked.length = 0;
  });

  it('malformed questions get an error or nothing, and the resolver lives on', async () => {
    const send = (hex: string): Promise<string> =>
      client.peer.send({ op: 'datagram', host: '10.201.0.1', port: 53, hex, timeoutMs: 300 });
    const header = '123401000001000000000000';
    assert.match(await send(`${header}c00c00010001`), /^12348081/, 'compression loop');
    assert.match(await send(`${header}40${'61'.repeat(64)}0000010001`), /^12348081/, 'label of 64');
    assert.match(await send(`${header}03616263`), /^12348081/, 'cut off');
    assert.match(await send(`${header}${`3f${'61'.repeat(63)}`.repeat(5)}0000010001`), /^12348081/, 'name of 320');
    await assert.rejects(send('1234'), /timeout/);
    await assert.rejects(send('123481000001000000000000'), /timeout/, 'an answer is not a question');
    assert.equal(await client.peer.resolve('10.201.0.1', 'web'), web.ip);
  });

  it('stops answering when run() ends', async () => {
    const stop = new AbortController();
    const running = harness.network.run(stop.signal);
    assert.equal(await client.peer.resolve('10.201.0.1', 'web'), web.ip);
    stop.abort();
    await running;
    await assert.rejects(client.peer.resolve('10.201.0.1', 'web'), /ECONNREFUSED|ETIMEOUT/);
  });
});

describe('names on a host with a resolver of its own', { skip: isRoot ? false : 'needs root' }, () => {
  it('are answered although port 53 is taken on all addresses, after a restart too', async () => {
    becomePrivateHost();
    const udp = createSocket('udp4').bind(53, '0.0.0.0');
    const tcp = createServer((socket) => socket.destroy()).listen(53, '0.0.0.0');
    await Promise.all([once(udp, 'listening'), once(tcp, 'listening')]);
    const harness = await startNetwork({ upstreamResolvers: ['127.0.0.1:1'] });
    try {
      await harness.network.ensureNetwork(makeNetwork(201));
      await harness.network.ensureNetwork(makeNetwork(203, { internal: true }));
      const web = await harness.addSandbox('web', ['default/net201', 'default/net203']);
      const inside = await harness.addSandbox('inside', ['default/net203']);
      const many = Array.from({ length: 200 }, (_, index) => `10.201.0.${index + 20}`);
      const table = (): string =>
        execFileSync('nft', ['list', 'table', 'inet', kernelNames.nftTable(harness.instance)], { encoding: 'utf8' });
      const isRedirected = (): boolean => (table().match(/(tcp|udp) \. 10\.20[13]\.0\.1 \. 53 :/g) ?? []).length === 4;
      await waitFor(isRedirected, { what: 'the redirection' });
      const check = async (): Promise<void> => {
        assert.equal(await web.peer.resolve('10.201.0.1', 'web'), web.ip);
        assert.equal(await inside.peer.resolve('10.203.0.1', 'inside'), inside.ip);
        // Too long for a datagram: asked again over TCP.
        harness.network.setNames(
          new Map([['default/net201', { names: new Map([['many', many]]), elsewhere: new Map() }]]),
        );
        assert.equal((await web.peer.resolve('10.201.0.1', 'many')).split(' ').length, many.length);
      };
      await check();
      await harness.restart();
      await waitFor(isRedirected, { what: 'the redirection' });
      await check();
    } finally {
      udp.close();
      tcp.close();
      await harness[Symbol.asyncDispose]();
    }
  });
});
