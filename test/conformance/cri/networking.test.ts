import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { freePorts } from '../../../cli/ports.ts';
import type { Draft, PodSandboxConfig } from '../../../cri/messages.ts';
import { criSuite } from '../../support/cri-suite.ts';
import { waitFor } from '../../support/wait.ts';

const suite = criSuite();

const page = 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello';
/** Answers every connection to port 80 with a page. */
const serve = ['sh', '-c', `while :; do printf '${page}' | nc -l -p 80 >/dev/null; done`];
/** No annotations: the caller knows CRI only. */
const plain = (config: Draft<PodSandboxConfig> = {}): Draft<PodSandboxConfig> => ({ annotations: {}, ...config });

async function addressOf(containerId: string): Promise<string> {
  const { runtime } = suite.shim.cri;
  const { containers } = await runtime.listContainers({ filter: { id: containerId } });
  const { status } = await runtime.podSandboxStatus({ podSandboxId: containers[0]?.podSandboxId ?? '' });
  return status?.network?.ip ?? '';
}

/** The body of the page at an address; waits until somebody listens. */
function fetchPage(host: string, port: number): Promise<string> {
  const once = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect({ host, port, timeout: 1000 });
      let text = '';
      socket.on('connect', () => socket.write('GET / HTTP/1.0\r\n\r\n'));
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
      socket.on('timeout', () => socket.destroy(new Error('timeout')));
      socket.on('error', reject);
      socket.on('close', () => resolve(text));
    });
  return waitFor(async () => (await once().catch(() => '')).split('\r\n\r\n')[1], { what: `${host}:${port}` });
}

suite.test('the DNS configuration is the resolv.conf of the containers', async () => {
  const dnsConfig = { servers: ['10.10.10.10'], searches: ['google.com'], options: ['ndots:8'] };
  const containerId = await suite.runSleeper({}, plain({ dnsConfig }));
  assert.deepEqual((await suite.shim.exec(containerId, 'cat', '/etc/resolv.conf')).split('\n'), [
    'nameserver 10.10.10.10',
    'search google.com',
    'options ndots:8',
  ]);
});

suite.test('the host name is set, also in /etc/hostname and /etc/hosts', async () => {
  const containerId = await suite.runSleeper({}, plain({ hostname: 'test-hostname' }));
  assert.equal(await suite.shim.exec(containerId, 'hostname'), 'test-hostname');
  assert.equal(await suite.shim.exec(containerId, 'cat', '/etc/hostname'), 'test-hostname');
  const hosts = await suite.shim.exec(containerId, 'cat', '/etc/hosts');
  assert.match(hosts, new RegExp(`^${await addressOf(containerId)}\\s+test-hostname$`, 'm'));
});

suite.test('a container port alone is reached at the address of the sandbox', async () => {
  const portMappings = [{ protocol: 'TCP', containerPort: 80, hostPort: 0, hostIp: '' }] as const;
  const containerId = await suite.runSleeper({ command: serve }, plain({ portMappings }));
  assert.equal(await fetchPage(await addressOf(containerId), 80), 'hello');
});

suite.test('a host port is reached over loopback and over the addresses of the host', async () => {
  const [hostPort = 0] = await freePorts(1);
  const portMappings = [{ protocol: 'TCP', containerPort: 80, hostPort, hostIp: '' }] as const;
  await suite.runSleeper({ command: serve }, plain({ portMappings }));
  assert.equal(await fetchPage('127.0.0.1', hostPort), 'hello');
  const own = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal);
  if (own) assert.equal(await fetchPage(own.address, hostPort), 'hello');
});

suite.test('containers of a sandbox share its network, and each has its own output', async () => {
  const { runtime } = suite.shim.cri;
  const podSandboxId = await suite.shim.runSandbox('multi', plain());
  const make = async (name: string, command: string[]): Promise<string> => {
    const config = { metadata: { name, attempt: 0 }, logPath: `${name}.log`, command };
    const containerId = await suite.shim.create(podSandboxId, config);
    await runtime.startContainer({ containerId });
    return containerId;
  };
  const server = await make('server', ['httpd', '-f', '-v', '-h', '/etc', '-p', '80']);
  const client = await make('client', ['sh', '-c', 'echo client speaks; sleep 1000']);
  const get = (): Promise<string> =>
    suite.shim.exec(client, 'wget', '-qO-', 'http://127.0.0.1:80/hostname').catch(() => '');
  await waitFor(async () => (await get()) !== '', { what: 'the server to answer its neighbour' });
  await suite.untilLogged(server, '127.0.0.1');
  assert.deepEqual(await suite.shim.readLog(client), ['client speaks']);
  assert.deepEqual(
    [await suite.shim.exec(server, 'echo', 'one'), await suite.shim.exec(client, 'echo', 'two')],
    ['one', 'two'],
  );
});

suite.test('the address is free again once the sandbox is stopped, and not told any more', async () => {
  const { runtime } = suite.shim.cri;
  const podSandboxId = await suite.shim.runSandbox('address', plain());
  assert.notEqual((await runtime.podSandboxStatus({ podSandboxId })).status?.network?.ip, '');
  await runtime.stopPodSandbox({ podSandboxId });
  assert.equal((await runtime.podSandboxStatus({ podSandboxId })).status?.network?.ip, '');
});
