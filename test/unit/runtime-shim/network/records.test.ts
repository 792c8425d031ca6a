import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { NetworkSpec, ServicePort } from '../../../../runtime-shim/network/node-network.ts';
import { openRecords, type SandboxRecord } from '../../../../runtime-shim/network/records.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'windlass-records-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const network: NetworkSpec = {
  id: 'default/good',
  subnets: [{ cidr: '10.5.0.0/24', gateway: '10.5.0.1', ranges: ['10.5.0.0/25'] }],
  internal: false,
  isolated: false,
  mtu: 1500,
  domain: 'default',
};
const sandbox: SandboxRecord = {
  id: 'one',
  label: 'Container default/one',
  netnsPath: '/run/one',
  endpoints: [
    {
      ...{ network: 'default/good', name: 'eth0', ipv4Address: '10.5.0.2', prefixLength: 24, gateway: '10.5.0.1' },
      ...{ macAddress: '02:00:00:00:00:0a', hostLink: 'wlv0', names: ['one'], isDefaultRoute: true },
    },
  ],
  ports: [{ protocol: 'TCP', containerPort: 80, hostPort: 8080, hostIp: '' }],
};
const endpoint = sandbox.endpoints[0];

test('records come back as they were saved', () => {
  const fail = (file: string): void => assert.fail(file);
  const records = openRecords(folder, fail);
  records.saveNetwork(network);
  records.saveSandbox(sandbox);
  assert.deepEqual(openRecords(folder, fail).loadNetworks(), [network]);
  assert.deepEqual(openRecords(folder, fail).loadSandboxes(), [sandbox]);
});

test('what an overlay has elsewhere is kept with it, and goes with it', () => {
  const fail = (file: string): void => assert.fail(file);
  const records = openRecords(folder, fail);
  const endpoints = [{ ip: '10.5.0.200', mac: '02:00:00:00:00:0b', host: '192.0.2.2' }];
  records.savePeers({ id: network.id, hosts: ['192.0.2.2'], endpoints });
  assert.deepEqual(openRecords(folder, fail).loadPeers(), [{ id: network.id, hosts: ['192.0.2.2'], endpoints }]);
  records.deleteNetwork(network.id);
  assert.deepEqual(openRecords(folder, fail).loadPeers(), []);
});

/** Saves a good record and `bad` ones beside it; the bad ones' files must be named, kept and not looked at again. */
function loadWith(kind: 'networks' | 'sandboxes', bad: readonly unknown[]): void {
  const damaged: string[] = [];
  const records = openRecords(folder, (file) => damaged.push(file));
  for (const [index, value] of bad.entries()) {
    const id = `bad-${index}`;
    if (kind === 'networks') records.saveNetwork({ ...(value as NetworkSpec), id });
    else records.saveSandbox({ ...(value as SandboxRecord), id });
  }
  const broken = join(folder, kind, 'broken.json');
  writeFileSync(broken, '{"id": "x", ');
  writeFileSync(join(folder, kind, 'null.json'), 'null');
  writeFileSync(join(folder, kind, 'strange.json'), '{"id": "strange"}');
  if (kind === 'networks') records.saveNetwork(network);
  else records.saveSandbox(sandbox);
  const load = (): unknown[] => (kind === 'networks' ? records.loadNetworks() : records.loadSandboxes());
  assert.deepEqual(load(), [kind === 'networks' ? network : sandbox]);
  assert.equal(damaged.length, bad.length + 3, damaged.join('\n'));
  assert.ok(damaged.includes(broken));
  assert.equal(readFileSync(`${broken}.damaged`, 'utf8'), '{"id": "x", ');
  assert.equal(readdirSync(join(folder, kind)).filter((name) => name.endsWith('.damaged')).length, damaged.length);
  load();
  assert.equal(damaged.length, bad.length + 3);
}

test('damaged networks are put aside, the others load', () => {
  const withSubnet = (subnet: object): object => ({ ...network, subnets: [{ ...network.subnets[0], ...subnet }] });
  loadWith('networks', [
    withSubnet({ cidr: '10.5.0.0/99' }),
    withSubnet({ cidr: '10.5.0' }),
    withSubnet({ gateway: '10.5.0.1000' }),
    withSubnet({ gateway: '10.6.0.1' }),
    withSubnet({ gateway: undefined }),
    withSubnet({ ranges: 7 }),
    { ...network, subnets: undefined },
    { ...network, mtu: 'x' },
  ]);
});

test('damaged sandboxes are put aside, the others load', () => {
  const withEndpoint = (change: object): object => ({ ...sandbox, endpoints: [{ ...endpoint, ...change }] });
  loadWith('sandboxes', [
    withEndpoint({ ipv4Address: '10.5.0' }),
    withEndpoint({ gateway: 'x' }),
    withEndpoint({ macAddress: '02:00' }),
    withEndpoint({ hostLink: undefined }),
    withEndpoint({ names: undefined }),
    { ...sandbox, endpoints: undefined },
    { ...sandbox, ports: [{ ...sandbox.ports[0], hostPort: -1 }] },
    { ...sandbox, ports: [{ ...sandbox.ports[0], hostIp: 'no' }] },
  ]);
});

test('a damaged record of Services is put aside', () => {
  const damaged: string[] = [];
  const records = openRecords(folder, (file) => damaged.push(file));
  const backends = [{ id: 'a', ip: '10.5.0.2', port: 80, isRemote: false }];
  const port: ServicePort = {
    ...{ protocol: 'TCP', virtualIp: '', port: 0, publishedPort: 8080, backends, sessionAffinity: false },
    clientAddress: 'Preserve',
  };
  const save = (change: Partial<ServicePort>): void =>
    records.saveBalancing({
      id: 'balancing',
      services: [{ id: 'default/s', ports: [{ ...port, ...change }] }],
      ingress: null,
    });
  save({});
  assert.equal(records.loadBalancing()?.services[0]?.ports[0]?.publishedPort, 8080);
  save({ publishedPort: 80_000 });
  assert.equal(records.loadBalancing(), undefined);
  assert.equal(damaged.length, 1);
});
