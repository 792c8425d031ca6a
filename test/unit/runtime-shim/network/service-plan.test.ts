import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeInstance } from '../../../../lib/instance.ts';
import { validateServices } from '../../../../runtime-shim/network/network-spec.ts';
import type { IngressSpec, ServiceBackend, ServicePort } from '../../../../runtime-shim/network/node-network.ts';
import {
  diffServices,
  planServices,
  serviceChain,
  staleUdpFlows,
} from '../../../../runtime-shim/network/service-plan.ts';
import { serviceRules } from '../../../../runtime-shim/network/service-rules.ts';
import { renderServiceChains, renderTables } from '../../../../runtime-shim/network/table-script.ts';

const instance = describeInstance('/var/lib/windlass', '/run/windlass');
const backend = (last: number, overrides: Partial<ServiceBackend> = {}): ServiceBackend => ({
  ...{ id: `10.1.0.${last}:8080`, ip: `10.1.0.${last}`, port: 8080, isRemote: false },
  ...overrides,
});
const port = (overrides: Partial<ServicePort> = {}): ServicePort => ({
  ...{ protocol: 'TCP', virtualIp: '10.1.0.240', port: 80, publishedPort: 0, sessionAffinity: false },
  clientAddress: 'Preserve',
  backends: [backend(2)],
  ...overrides,
});
const surroundings = {
  bridgeOf: (ip: string) => (ip.startsWith('10.1.') ? 'br' : undefined),
  ...{ hasIngress: true, isSilent: () => false, relayOf: () => undefined },
};
const plan = (...ports: ServicePort[]) => planServices(instance, [{ id: 'default/web', ports }], surroundings);

test('planServices() leads the virtual address and the published port to one chain', () => {
  const { elements, chains, virtualIps } = plan(port({ publishedPort: 9090 }));
  const chain = serviceChain('default/web', port({ publishedPort: 9090 }));
  assert.deepEqual(
    elements.map(({ set, words }) => `${set}: ${words}`),
    [
      `vipports: 10.1.0.240 . tcp . 80 : goto ${chain}`,
      `serviceports: tcp . 9090 : goto ${chain}`,
      `ingressports: tcp . 9090 : goto ${chain}`,
      'vips: 10.1.0.240',
      'vipbridges: "br" . 10.1.0.240',
    ],
  );
  assert.deepEqual([...chains.keys()], [chain]);
  assert.deepEqual([...virtualIps], [['10.1.0.240', 'br']]);
});

test('validateServices() lets no word into the packet filter that is no address, port or protocol', () => {
  const ingress: IngressSpec = {
    ...{ network: 'windlass-system/ingress', ip: '10.255.0.2' },
    peers: [{ ip: '10.255.0.3', mac: '0a:00:0a:ff:00:03', hosts: ['192.0.2.2'] }],
  };
  const check = (change: Partial<ServicePort>, other: Partial<IngressSpec> = {}): void =>
    validateServices([{ id: 'default/web', ports: [port(change)] }], { ...ingress, ...other });
  check({});
  const [peer] = ingress.peers as [IngressSpec['peers'][number]];
  for (const [change, other, message] of [
    [{ backends: [backend(2, { ip: '10.1.0.2 } ; flush ruleset ; map {' })] }, {}, /Service default\/web: backend "10/],
    [{ backends: [backend(2, { port: 0 })] }, {}, /port 0 of a backend is not from 1 to 65535/],
    [{ virtualIp: '10.1.0.240/8' }, {}, /port 80 .*: "10.1.0.240\/8" is no IPv4 address/],
    [{ publishedPort: 65_536 }, {}, /port 65536 of Service default\/web is not from 0 to 65535/],
    [{ protocol: 'SCTP' as never }, {}, /"SCTP" is neither TCP nor UDP/],
    [{}, { ip: 'x' }, /ingress network windlass-system\/ingress: "x" is no IPv4 address/],
    [{}, { peers: [{ ...peer, hosts: ['fd00::1'] }] }, /"fd00::1" is no IPv4 address/],
    [{}, { peers: [{ ...peer, mac: '01:00:00:00:00:01' }] }, /is no MAC of a bridge/],
  ] as const)
    assert.throws(() => check(change, other), message);
});

test('planServices() makes nothing for a virtual address of a network that is not on this node', () => {
  assert.deepEqual(plan(port({ virtualIp: '10.9.0.1' })).chains.size, 0);
});

test('diffServices() touches one chain when backends change', () => {
  const [before, after] = [plan(port()), plan(port({ backends: [backend(3)] }))];
  const change = diffServices(before, after);
  assert.deepEqual([change.add, change.remove, change.removeChains], [[], [], []]);
  assert.equal(change.setChains.size, 1);
  assert.equal(diffServices(after, after).setChains.size, 0);
});

test('diffServices() removes elements and chains of a service that went', () => {
  const change = diffServices(plan(port()), planServices(instance, [], surroundings));
  assert.deepEqual(
    change.remove.map(({ set }) => set),
    ['vipports', 'vips', 'vipbridges'],
  );
  assert.equal(change.removeChains.length, 1);
});

test('serviceRules() spreads at random, by source with affinity, and has no rule without backends', () => {
  assert.deepEqual(serviceRules(port()), [
    'ip protocol tcp dnat ip to numgen random mod 1 map { 0 : 10.1.0.2 . 8080 }',
  ]);
  assert.match(
    serviceRules(port({ sessionAffinity: true }))[0] ?? '',
    /jhash ip saddr mod 1024 seed 0x\w+ map \{ 0-1023 : 10.1.0.2 . 8080 \}/,
  );
  assert.deepEqual(serviceRules(port({ backends: [] })), []);
});

test('renderServiceChains() and renderTables() name only tables of the instance', () => {
  const { elements, chains } = plan(port());
  const script = renderTables(instance, { elements, serviceChains: chains });
  const tables = [...script.matchAll(/table (?:inet|bridge) (\S+)/g)].map(([, name]) => name);
  assert.deepEqual([...new Set(tables)], [`windlass-${instance.id}`]);
  assert.match(
    renderServiceChains(instance, { set: chains, remove: ['svc-old'] }),
    /^add chain inet windlass-\w+ svc-\w+\nflush chain .*\nadd rule .* dnat .*\ndelete chain inet windlass-\w+ svc-old\n$/,
  );
});

const remote = (last: number): ServiceBackend => backend(last, { ip: '10.255.0.2', port: 9090, isRemote: true });

test('planServices() leads what other nodes send to backends of this node alone', () => {
  const mixed = port({ virtualIp: '', publishedPort: 9090, backends: [backend(2), remote(3), remote(4)] });
  const { elements, chains } = plan(mixed);
  const chain = serviceChain('default/web', mixed);
  assert.deepEqual(
    elements.map(({ words }) => words),
    [`tcp . 9090 : goto ${chain}`, `tcp . 9090 : goto ${chain}-l`],
  );
  assert.match(chains.get(chain)?.[0] ?? '', /mod 3 map \{ 0 : 10\.1\.0\.2 \. 8080, 1-2 : 10\.255\.0\.2 \. 9090 \}$/);
  assert.match(chains.get(`${chain}-l`)?.[0] ?? '', /mod 1 map \{ 0 : 10\.1\.0\.2 \. 8080 \}$/);
  const elsewhere = plan({ ...mixed, backends: [remote(3)] }).elements;
  assert.deepEqual(
    elsewhere.map(({ set }) => set),
    ['serviceports'],
    'nothing here: nothing is taken in',
  );
});

test('planServices() has only its own backends without an ingress network', () => {
  const mixed = port({ virtualIp: '', publishedPort: 9090, backends: [backend(2), remote(3)] });
  const { elements, chains } = planServices(instance, [{ id: 'default/web', ports: [mixed] }], {
    ...surroundings,
    hasIngress: false,
  });
  assert.deepEqual(
    elements.map(({ set }) => set),
    ['serviceports'],
  );
  assert.match([...chains.values()][0]?.[0] ?? '', /mod 1 map/);
});

test('planServices() takes in what other nodes send although somebody else has the port here', () => {
  const taken = port({ virtualIp: '', publishedPort: 9090, isTaken: true });
  assert.deepEqual(
    plan(taken).elements.map(({ set }) => set),
    ['ingressports'],
  );
});

test('planServices() leads a port with a header to its listener, and what other nodes relay to backends here', () => {
  const relayed = port({ virtualIp: '', publishedPort: 9090, clientAddress: 'ProxyProtocol' });
  const chain = serviceChain('default/web', relayed);
  const planRelayed = (change: Partial<ServicePort>, listener: number | undefined) =>
    planServices(instance, [{ id: 'default/web', ports: [{ ...relayed, ...change }] }], {
      ...surroundings,
      relayOf: (of) => (of === chain ? listener : undefined),
    });
  const { elements, chains } = planRelayed({}, 40_000);
  assert.deepEqual(
    elements.map(({ set, words }) => `${set}: ${words}`),
    ['relays: 40000', `serviceports: tcp . 9090 : goto ${chain}`, `ingressports: tcp . 9090 : goto ${chain}-l`],
  );
  assert.deepEqual(chains.get(chain), ['ip protocol tcp dnat to :40000']);
  assert.match(chains.get(`${chain}-l`)?.[0] ?? '', /mod 1 map/);
  assert.deepEqual(planRelayed({}, undefined).chains.get(chain), [], 'no listener: never without the header');
  assert.deepEqual(planRelayed({ backends: [] }, 40_000).chains.get(chain), [], 'nobody: refused at once');
});

test('serviceRules() hides the client on request', () => {
  const [rule = ''] = serviceRules(port({ clientAddress: 'Masquerade' }));
  assert.match(rule, /^ip protocol tcp ct mark set ct mark or 0x20000000 dnat ip to /);
});

/** Backend of each bucket. */
function buckets(...backends: ServiceBackend[]): string[] {
  const [rule = ''] = serviceRules(port({ sessionAffinity: true, backends }));
  const owners: string[] = [];
  for (const [, first, last, ip] of rule.matchAll(/(\d+)(?:-(\d+))? : (\S+) \. \d+/g))
    for (let bucket = Number(first); bucket <= Number(last ?? first); bucket += 1) owners[bucket] = ip ?? '';
  return owners;
}

test('serviceRules() with affinity: every bucket has a backend, about equally many each', () => {
  const owners = buckets(backend(2), backend(3), backend(4), backend(5));
  assert.equal(owners.length, 1024);
  for (const last of [2, 3, 4, 5]) {
    const share = owners.filter((ip) => ip === `10.1.0.${last}`).length;
    assert.ok(share > 200 && share < 312, `${last} has ${share}`);
  }
});

test('serviceRules() with affinity: who goes moves only its own buckets, and nodes agree in any order', () => {
  const all = buckets(backend(2), backend(3), backend(4));
  assert.deepEqual(buckets(backend(4), backend(2), backend(3)), all);
  const without = buckets(backend(2), backend(4));
  assert.deepEqual(
    without.filter((ip, bucket) => all[bucket] !== '10.1.0.3' && ip !== all[bucket]),
    [],
  );
  // On the node that has 2 and 3 elsewhere, and on that which takes in what is for them.
  const byNode = buckets(remote(2), remote(3), backend(4));
  assert.deepEqual(
    byNode.map((ip) => ip === '10.255.0.2'),
    all.map((ip) => ip !== '10.1.0.4'),
  );
  const taken = buckets(backend(2), backend(3));
  assert.deepEqual(
    all.filter((ip, bucket) => ip !== '10.1.0.4' && ip !== taken[bucket]),
    [],
  );
});

test('staleUdpFlows() names the changed ports with the backends that remain', () => {
  const service = (...backends: ServiceBackend[]) => [
    { id: 'default/dns', ports: [port({ protocol: 'UDP', port: 53, publishedPort: 5353, backends }), port()] },
  ];
  const flows = staleUdpFlows(service(backend(2), backend(3)), service(backend(3), remote(4)));
  assert.deepEqual(
    [...flows].map(([number, ips]) => [number, [...ips].toSorted()]),
    [
      [53, ['10.1.0.3', '10.255.0.2']],
      [5353, ['10.1.0.3', '10.255.0.2']],
    ],
  );
  assert.deepEqual([...staleUdpFlows(service(backend(2)), service(backend(2)))], []);
  assert.deepEqual(
    [...staleUdpFlows(service(backend(2)), [])].map(([number, ips]) => [number, ips.size]),
    [
      [53, 0],
      [5353, 0],
    ],
  );
});

test('planServices() leads clients that come by IPv6 to the backends of this node that have such an address', () => {
  const ipv6 = (last: number, overrides: Partial<ServiceBackend> = {}): ServiceBackend =>
    backend(last, { ipv6: `fd00::${last}`, ...overrides });
  const backends = [backend(2), ipv6(3), ipv6(4), ipv6(5, { isRemote: true }), ipv6(6, { isDraining: true })];
  const published = port({ publishedPort: 9090, backends, sessionAffinity: true });
  const { elements, chains } = plan(published);
  const chain = `${serviceChain('default/web', published)}-6`;
  const led = (items: typeof elements): string[] =>
    items.filter(({ set }) => set === 'serviceports6').map(({ words }) => words);
  assert.deepEqual(led(elements), [`tcp . 9090 : goto ${chain}`]);
  const [rule = ''] = chains.get(chain) ?? [];
  assert.match(rule, /^meta l4proto tcp dnat ip6 to jhash ip6 saddr mod 1024 seed/);
  assert.deepEqual([...new Set(rule.match(/fd00::\d . 8080/g))].toSorted(), ['fd00::3 . 8080', 'fd00::4 . 8080']);
  assert.deepEqual(led(plan(port({ publishedPort: 9090 })).elements), []);
  assert.deepEqual(led(plan(port({ backends })).elements), [], 'not published');
  assert.throws(
    () =>
      validateServices([{ id: 's', ports: [port({ backends: [ipv6(3, { ipv6: 'fd00::1 } ; flush' })] })] }], undefined),
    /is no IPv6 address/,
  );
});
