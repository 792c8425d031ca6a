import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  attachmentKeys,
  findDrift,
  hasPorts,
  resourcesKey,
} from '../../../../../controllers/node-agent/container/drift.ts';
import { attachmentsOf, publishedPortsOf } from '../../../../../controllers/node-agent/container/sandbox-config.ts';
import { defineNetwork } from '../../../../../controllers/node-agent/networks/node-networks.ts';
import { buildServiceTables } from '../../../../../controllers/node-agent/networks/service-tables.ts';
import type { Container } from '../../../../../crds/container.ts';
import type { Network } from '../../../../../crds/network.ts';
import { ServiceSpec, type Service } from '../../../../../crds/service.ts';
import { makeContainer, NOW } from '../make.ts';

function member(slot: number, nodeName: string, ready: boolean): Container {
  return makeContainer(
    { nodeName },
    {
      metadata: {
        name: `api-${slot}`,
        uid: `m${slot}`,
        labels: { 'windlass.dev/service': 'api' },
        ownerReferences: [
          { apiVersion: 'windlass.dev/v1', kind: 'Service', name: 'api', uid: 'svc', controller: true },
        ],
      },
      status: {
        networks: [{ name: 'default', ipv4Address: `10.128.0.${slot}` }],
        conditions: [
          {
            type: 'Ready',
            status: ready ? 'True' : 'False',
            reason: 'x',
            message: '',
            lastTransitionTime: new Date(NOW).toISOString(),
          },
        ],
      },
    },
  );
}

const service = (spec: object): Service => ({
  apiVersion: 'windlass.dev/v1',
  kind: 'Service',
  metadata: { name: 'api', namespace: 'shop', uid: 'svc' },
  spec: ServiceSpec.parse({
    template: { spec: { image: 'x' } },
    ports: [{ port: 80, targetPort: 8080, publishedPort: 8000 }],
    ...spec,
  }),
  status: {
    virtualIPs: [{ network: 'default', ip: '10.128.240.1' }],
    publishedPorts: [{ port: 8000, protocol: 'TCP' }],
  },
});

const tablesOf = (one: Service, containers: Container[], networks: Network[] = [], nodeName = 'n1') =>
  buildServiceTables({ services: [one], containers, networks, nodeName, canDrain: true });
const backend = (ip: string, port = 8080) => ({ id: `${ip}:${port}`, ip, port, isRemote: false });
const ingressNetwork = {
  metadata: { name: 'ingress', namespace: 'windlass-system' },
  spec: { driver: 'overlay' },
  status: {
    nodes: [1, 2, 3].map((n) => ({
      ...{
        name: `n${n}`,
        ipv4Address: `10.255.0.${n}`,
        macAddress: `0a:00:0a:ff:00:0${n}`,
        underlayIP: `192.0.2.${n}`,
      },
    })),
  },
} as unknown as Network;
const overlay = { metadata: { name: 'default', namespace: 'shop' }, spec: { driver: 'overlay' } } as unknown as Network;

test('buildServiceTables() leads a published port to members elsewhere by way of their nodes', () => {
  const members = [member(1, 'n1', true), member(2, 'n2', true), member(3, 'n2', true), member(4, 'n3', false)];
  const { services, ingress } = tablesOf(service({}), members, [ingressNetwork]);
  const published = services[0]?.ports.find(({ publishedPort }) => publishedPort === 8000);
  assert.deepEqual(published?.backends, [
    backend('10.128.0.1'),
    { id: '10.128.0.2:8080', ip: '10.255.0.2', port: 8000, isRemote: true },
    { id: '10.128.0.3:8080', ip: '10.255.0.2', port: 8000, isRemote: true },
  ]);
  const virtual = services[0]?.ports.find(({ virtualIp }) => virtualIp !== '');
  assert.deepEqual(virtual?.backends, [backend('10.128.0.1')], 'a bridge ends at its node');
  assert.deepEqual(ingress, {
    network: 'windlass-system/ingress',
    ip: '10.255.0.1',
    peers: [2, 3].map((n) => ({ ip: `10.255.0.${n}`, mac: `0a:00:0a:ff:00:0${n}`, hosts: [`192.0.2.${n}`] })),
  });
  const ids = (nodeName: string): (string | undefined)[] | undefined =>
    tablesOf(service({}), members, [ingressNetwork], nodeName)
      .services[0]?.ports.at(-1)
      ?.backends.map(({ id }) => id);
  assert.deepEqual(ids('n3'), ids('n1'), 'every node knows the same backends');
});

test('buildServiceTables() reaches members and names on every node over an overlay', () => {
  const members = [member(1, 'n1', true), member(2, 'n2', true)];
  const [first, second] = members as [Container, Container];
  const running = { ...second, status: { ...second.status, phase: 'Running' as const } };
  const { services, names } = tablesOf(service({}), [first, running], [overlay, ingressNetwork]);
  assert.deepEqual(services[0]?.ports[0]?.backends, [backend('10.128.0.1'), backend('10.128.0.2')]);
  assert.deepEqual(names[0]?.elsewhere, [{ name: 'api-2', ipv4Addresses: ['10.128.0.2'], ipv6Addresses: [] }]);
});

test('buildServiceTables() leaves out what an agent wrote where an address should be', () => {
  const [first, second] = [member(1, 'n1', true), member(2, 'n2', true)];
  const networks = [{ name: 'default', ipv4Address: '10.128.0.2 } ; flush ruleset' }];
  const bad = { ...second, status: { ...second.status, phase: 'Running' as const, networks } };
  const nodes = [
    ...(ingressNetwork.status?.nodes ?? []),
    { name: 'n4', ipv4Address: 'x', macAddress: '0a:00:0a:ff:00:04' },
    { name: 'n5', ipv4Address: '10.255.0.5', macAddress: 'ff:ff:ff:ff:ff:ff' },
  ];
  const tables = tablesOf(service({}), [first, bad], [overlay, { ...ingressNetwork, status: { nodes } }]);
  assert.deepEqual(
    tables.services[0]?.ports.map(({ backends }) => backends),
    [[backend('10.128.0.1')], [backend('10.128.0.1')]],
  );
  assert.deepEqual(tables.names[0]?.elsewhere, []);
  assert.deepEqual(
    tables.ingress?.peers.map(({ ip }) => ip),
    ['10.255.0.2', '10.255.0.3'],
  );
});

test('buildServiceTables() publishes mode Host where a member is, to the members there', () => {
  const members = [member(1, 'n1', true), member(2, 'n2', false), member(3, 'n2', true)];
  const host = { ...service({ ports: [{ port: 80, publishedPort: 8000, mode: 'Host' }] }) };
  const on = (nodeName: string, status: Service['status']) =>
    tablesOf({ ...host, status: status ?? {} }, members, [ingressNetwork], nodeName).services[0]?.ports.map(
      ({ publishedPort, backends }) => [publishedPort, ...backends.map(({ ip }) => ip)],
    );
  assert.deepEqual(on('n1', {}), [[8000, '10.128.0.1']]);
  assert.deepEqual(on('n2', {}), [[8000, '10.128.0.3']]);
  assert.deepEqual(on('n3', {}), undefined);
});

test('buildServiceTables() says which Services want the client hidden', () => {
  const ports = tablesOf(service({ clientAddress: 'Masquerade' }), [member(1, 'n1', true)]).services[0]?.ports;
  assert.deepEqual(
    ports?.map(({ publishedPort, masquerade }) => [publishedPort, masquerade]),
    [
      [0, false],
      [8000, true],
    ],
  );
});

test('buildServiceTables() balances over the members that are ready and reachable from this node', () => {
  const stranger = { ...member(9, 'n1', true), metadata: { ...member(9, 'n1', true).metadata, ownerReferences: [] } };
  const members = [
    member(2, 'n1', true),
    member(1, 'n1', true),
    member(3, 'n1', false),
    member(4, 'n2', true),
    stranger,
  ];
  const tables = tablesOf(service({}), members);
  assert.deepEqual(tables.services, [
    {
      id: 'shop/api',
      ports: [
        {
          ...{ protocol: 'TCP', virtualIp: '10.128.240.1', port: 80, publishedPort: 0 },
          backends: [backend('10.128.0.1'), backend('10.128.0.2')],
          ...{ sessionAffinity: false, masquerade: false },
        },
        {
          ...{ protocol: 'TCP', virtualIp: '', port: 0, publishedPort: 8000 },
          backends: [backend('10.128.0.1'), backend('10.128.0.2')],
          ...{ sessionAffinity: false, masquerade: false },
        },
      ],
    },
  ]);
  assert.deepEqual(tables.names, [
    {
      network: 'shop/default',
      records: [{ name: 'api', ipv4Addresses: ['10.128.240.1'], ipv6Addresses: [] }],
      elsewhere: [],
    },
  ]);
  assert.equal(tables.ingress, undefined);
});

test('buildServiceTables() does not ask for a published port that another Service has', () => {
  const loser = { ...service({}), status: { virtualIPs: [{ network: 'default', ip: '10.128.240.1' }] } };
  const ports = tablesOf(loser, [member(1, 'n1', true)]).services[0]?.ports;
  assert.deepEqual(
    ports?.map(({ port, publishedPort }) => [port, publishedPort]),
    [[80, 0]],
  );
});

test('buildServiceTables() answers a DNSRR service by its members, without a virtual address', () => {
  const tables = tablesOf(service({ endpointMode: 'DNSRR', ports: [{ port: 80 }] }), [member(1, 'n1', true)]);
  assert.deepEqual(tables.services, []);
  assert.deepEqual(tables.names[0]?.records, [{ name: 'api', ipv4Addresses: ['10.128.0.1'], ipv6Addresses: [] }]);
});

test('findDrift() finds ports, networks and resources that differ, and nothing else', () => {
  const container = makeContainer({
    networks: [{ name: 'a' }, { name: 'b' }],
    ports: [{ containerPort: 80, hostPort: 0 }],
  });
  const on = (...names: string[]) =>
    names.map((name) => ({ network: `shop/${name}`, name: 'eth0', ipv4Address: '', macAddress: '', gateway: '' }));
  const ports = [{ protocol: 'TCP', containerPort: 80, hostPort: 31_000, hostIp: '' }] as const;
  const appliedResources = resourcesKey(container);
  const drift = (network: object, resources = appliedResources, appliedAttachments = new Map<string, string>()) =>
    findDrift({
      container,
      imageConfig: {},
      network: network as never,
      appliedResources: resources,
      appliedAttachments,
    }).map((step) => Object.values(step).join(' '));
  assert.deepEqual(drift({ interfaces: on('a', 'b'), ports }), []);
  assert.deepEqual(drift({ interfaces: on('a', 'c'), ports: [] }), [
    'attach-network shop/b',
    'detach-network shop/c',
    'update-ports',
  ]);
  assert.deepEqual(drift({ interfaces: on('a', 'b'), ports }, 'other'), ['update-resources']);
});

test('findDrift() disconnects a network whose aliases or address are others now, to connect it anew', () => {
  const attach = (fields: object) => makeContainer({ networks: [{ name: 'a', ...fields }, { name: 'b' }] });
  const applied = attachmentKeys(attachmentsOf(attach({ aliases: ['old'] })));
  const on = (...names: string[]) =>
    names.map((name) => ({ network: `shop/${name}`, name: 'eth0', ipv4Address: '', macAddress: '', gateway: '' }));
  const drift = (container: Container, interfaces: ReturnType<typeof on>) =>
    findDrift({
      container,
      imageConfig: {},
      network: { interfaces, ports: [] },
      appliedResources: resourcesKey(container),
      appliedAttachments: applied,
    });
  assert.deepEqual(drift(attach({ aliases: ['old'] }), on('a', 'b')), []);
  const detach = [{ kind: 'detach-network', network: 'shop/a' }];
  assert.deepEqual(drift(attach({ aliases: ['new'] }), on('a', 'b')), detach);
  assert.deepEqual(drift(attach({ aliases: ['old'], ipv4Address: '10.0.0.9' }), on('a', 'b')), detach);
  assert.deepEqual(drift(attach({ aliases: ['new'] }), on('b')), [{ kind: 'attach-network', network: 'shop/a' }]);
});

test('hasPorts() lets any host port stand for a free choice, but not one that another entry names', () => {
  const port = (containerPort: number, hostPort: number) =>
    ({ protocol: 'TCP', containerPort, hostPort, hostIp: '' }) as const;
  assert.equal(hasPorts([port(80, 8080), port(80, 9090)], [port(80, 0), port(80, 8080)]), true);
  assert.equal(hasPorts([port(80, 8080)], [port(80, 8081)]), false);
});

test('publishedPortsOf() publishes what is asked, and with publishAllPorts what the image exposes', () => {
  const image = { config: { ExposedPorts: { '80/tcp': {}, '53/udp': {}, bad: {} } } };
  const ports = (spec: object) =>
    publishedPortsOf(makeContainer({ ...spec }), image).map((port) => Object.values(port).join('/'));
  assert.deepEqual(ports({ ports: [{ containerPort: 80 }, { containerPort: 81, hostPort: 9 }] }), ['TCP/81/9/']);
  assert.deepEqual(ports({ publishAllPorts: true, ports: [{ containerPort: 80, hostPort: 9 }] }), [
    'TCP/80/9/',
    'UDP/53/0/',
  ]);
  assert.deepEqual(ports({ publishAllPorts: true, hostNetwork: true }), []);
});

test('defineNetwork() waits for the subnet and for this node`s addresses', () => {
  const network = (status?: object) =>
    ({
      metadata: { name: 'a', namespace: 'shop' },
      spec: { driver: 'bridge', internal: true },
      status,
    }) as unknown as Network;
  const reason = (status?: object) => {
    const need = defineNetwork(network(status), 'n1');
    return need.state === 'Waiting' ? need.message : need.definition.subnets;
  };
  assert.equal(reason(), 'network "a" has no subnet yet');
  const subnets = [{ cidr: '10.0.0.0/24', gateway: '10.0.0.1' }];
  assert.equal(reason({ subnets }), 'network "a" has no addresses for node n1 yet');
  assert.deepEqual(reason({ subnets, nodes: [{ name: 'n1', ranges: ['10.0.0.0/28'] }] }), [
    { cidr: '10.0.0.0/24', gateway: '10.0.0.1', ranges: ['10.0.0.0/28'] },
  ]);
});

test('buildServiceTables() tells IPv6 addresses of members: of this node for published ports, of all as names', () => {
  const dual = (slot: number, node: string): Container => {
    const one = member(slot, node, true);
    const networks = [{ name: 'default', ipv4Address: `10.128.0.${slot}`, ipv6Address: `fd00::${slot}` }];
    return { ...one, status: { ...one.status, networks } } as Container;
  };
  const tables = tablesOf(
    service({ endpointMode: 'DNSRR' }),
    [dual(1, 'n1'), dual(2, 'n2')],
    [overlay, ingressNetwork],
  );
  const [published] = tables.services[0]?.ports ?? [];
  assert.deepEqual(
    published?.backends.map(({ isRemote, ipv6 }) => [isRemote, ipv6]),
    [
      [false, 'fd00::1'],
      [true, undefined],
    ],
  );
  assert.deepEqual(tables.names[0]?.records, [
    { name: 'api', ipv4Addresses: ['10.128.0.1', '10.128.0.2'], ipv6Addresses: ['fd00::1', 'fd00::2'] },
  ]);
});
