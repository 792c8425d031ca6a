// What the way to a container costs: directly, through a virtual IP and by a published port, beside Docker's bridge and its
// published port, in one run, the ways in turn.
//   node_modules/.bin/node bench/network/start.ts [--rounds 20] [--trips 5000] [--connections 1000]
// Client and server are the same two programs everywhere, over blocking sockets. Wall-clock time is of the client; processor
// time is of both, and hardly moves with what else the machine does. Needs root. Without dockerd its rows are left out.
import { execFileSync } from 'node:child_process';
import { loadavg, release } from 'node:os';
import { parseArgs } from 'node:util';
import type { ServicePort } from '../../runtime-shim/network/node-network.ts';
import { busyboxTar } from '../../test/support/busybox.ts';
import { becomePrivateHost, makeNetwork, startNetwork } from '../../test/support/node-network.ts';
import { renderTable, summarise } from '../measure.ts';
import { DOCKER_IMAGE, startDockerd } from '../runtime/dockerd.ts';
import { PeerMissing, SLEEP } from '../runtime/peer.ts';
import { startPeerProcess, type PeerProcess } from './peer-process.ts';
import type { AskCommand } from './socket-peer.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    trips: { type: 'string', default: '5000' },
    connections: { type: 'string', default: '1000' },
  },
});
const [SERVED, PUBLISHED] = [7000, 7001] as const;

interface Way {
  readonly name: string;
  readonly client: PeerProcess;
  readonly server: PeerProcess;
  readonly host: string;
  readonly port: number;
}

const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });
await using cleanup = new AsyncDisposableStack();

async function ours(): Promise<Way[]> {
  const harness = cleanup.use(await startNetwork());
  await harness.network.ensureNetwork(makeNetwork(50));
  const [one, two] = [
    await harness.addSandbox('server', ['default/net50']),
    await harness.addSandbox('client', ['default/net50']),
  ];
  const outside = await harness.addOutsideWorld();
  cleanup.defer(() => outside.stop());
  const common = { protocol: 'TCP', sessionAffinity: false, clientAddress: 'Preserve' } as const;
  const backends = [{ id: 'server', ip: one.ip, port: SERVED, isRemote: false }];
  const ports: ServicePort[] = [
    { ...common, backends, virtualIp: '10.50.0.200', port: SERVED, publishedPort: 0 },
    { ...common, backends, virtualIp: '', port: 0, publishedPort: PUBLISHED },
  ];
  await harness.network.setServices([{ id: 'default/web', ports }]);
  const within = (path: string): string[] => ['nsenter', `--net=${path}`];
  const server = await start(within(one.netns), 'serve', String(SERVED));
  const client = await start(within(two.netns), 'ask');
  const visitor = await start(within(harness.namespacePath('outside')), 'ask');
  return [
    { name: 'container to container', client, server, host: one.ip, port: SERVED },
    { name: 'virtual IP', client, server, host: '10.50.0.200', port: SERVED },
    { name: 'from outside, published port', client: visitor, server, host: '192.0.2.1', port: PUBLISHED },
  ];
}

async function docker(): Promise<Way[]> {
  const daemon = await startDockerd({ tar: await busyboxTar() }).catch((error: unknown) => {
    if (error instanceof PeerMissing) return undefined;
    throw error;
  });
  if (!daemon) return [];
  cleanup.defer(() => daemon.close());
  const run = (name: string, ...args: string[]): Promise<void> =>
    daemon.docker('run', '-d', '--name', name, ...args, DOCKER_IMAGE, ...SLEEP);
  await run('server', '-p', `${PUBLISHED}:${SERVED}`);
  await run('client');
  const inspect = async (name: string): Promise<{ pid: number; address: string }> => {
    const { State, NetworkSettings } = JSON.parse(await daemon.call('GET', `/containers/${name}/json`)) as {
      State: { Pid: number };
      NetworkSettings: { IPAddress: string };
    };
    return { pid: State.Pid, address: NetworkSettings.IPAddress };
  };
  const [one, two] = [await inspect('server'), await inspect('client')];
  const within = (pid: number): string[] => ['nsenter', '-t', String(pid), '-n'];
  // The daemon's host gets a cable to an outside world, as ours has.
  const host = (...args: string[]): void =>
    void execFileSync(daemon.prefix[0] ?? '', [...daemon.prefix.slice(1), 'ip', ...args]);
  const world = `bench-outside-${process.pid}`;
  ip('netns', 'add', world);
  cleanup.defer(() => void ip('netns', 'del', world));
  host('link', 'add', 'uplink', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `/run/netns/${world}`);
  host('addr', 'add', '198.51.100.1/24', 'dev', 'uplink');
  host('link', 'set', 'uplink', 'up');
  ip('-n', world, 'addr', 'add', '198.51.100.2/24', 'dev', 'eth0');
  ip('-n', world, 'link', 'set', 'eth0', 'up');
  const server = await start(within(one.pid), 'serve', String(SERVED));
  const client = await start(within(two.pid), 'ask');
  const visitor = await start(['nsenter', `--net=/run/netns/${world}`], 'ask');
  return [
    { name: 'docker: container to container', client, server, host: one.address, port: SERVED },
    { name: 'docker: from outside, published port', client: visitor, server, host: '198.51.100.1', port: PUBLISHED },
  ];
}

async function start(prefix: readonly string[], ...args: readonly string[]): Promise<PeerProcess> {
  const peer = await startPeerProcess(prefix, ...args);
  cleanup.defer(() => peer.stop());
  return peer;
}

becomePrivateHost();
const ways = [...(await ours()), ...(await docker())];
const counts = { 'round-trips': Number(values.trips), connections: Number(values.connections) } as const;
const samples = new Map(
  ways.map(({ name }) => [name, { wall: new Map<string, number[]>(), cpu: new Map<string, number[]>() }]),
);
for (let round = 0; round <= Number(values.rounds); round += 1) {
  for (const op of ['round-trips', 'connections'] as const satisfies readonly AskCommand['op'][]) {
    for (const { name, client, server, host, port } of ways) {
      const before = client.cpuNanoseconds() + server.cpuNanoseconds();
      const tookMs = await client.ask({ op, host, port, count: counts[op] });
      const cpuNs = client.cpuNanoseconds() + server.cpuNanoseconds() - before;
      const kept = samples.get(name);
      // The first round fills caches.
      if (!kept || round === 0) continue;
      kept.wall.set(op, [...(kept.wall.get(op) ?? []), (tookMs * 1000) / counts[op]]);
      kept.cpu.set(op, [...(kept.cpu.get(op) ?? []), cpuNs / 1000 / counts[op]]);
    }
  }
}
const median = (of: 'wall' | 'cpu', name: string, op: string): string =>
  summarise(samples.get(name)?.[of].get(op) ?? []).medianMs.toFixed(1);
console.log(
  `Linux ${release()}, load ${loadavg()[0]?.toFixed(1)}, ${values.rounds} rounds; medians, µs: wall clock (processor time of both ends)`,
);
console.log(
  renderTable(
    ['way', 'round trip', 'connection'],
    ways.map(({ name }) => [
      name,
      ...(['round-trips', 'connections'] as const).map(
        (op) => `${median('wall', name, op)} (${median('cpu', name, op)})`,
      ),
    ]),
  ),
);
