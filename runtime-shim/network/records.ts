// What the network has promised, on disk: one file per network and per sandbox, written before the kernel object it
// describes is made and removed after that object is gone. The folder does not survive a reboot, nor do the objects.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { shortHash } from '../../lib/instance.ts';
import { addressBytes } from '../../lib/ip-address.ts';
import { parseIpv6, parseIpv6Cidr } from '../../lib/ipv6.ts';
import { isMac } from '../host/rtnetlink.ts';
import { removeTemporaryFiles, writeRecordFile } from '../store/record-file.ts';
import { parseCidr, parseIp } from './ipam.ts';
import { validateNetwork, validatePeers, validateServices } from './network-spec.ts';
import type {
  IngressSpec,
  NamesOfNetwork,
  NetworkInterface,
  NetworkSpec,
  OverlayPeers,
  PublishedPort,
  ServiceSpec,
} from './node-network.ts';

export interface EndpointRecord extends NetworkInterface {
  /** Name of the veth's end in the bridge. */
  readonly hostLink: string;
  /** Names that this endpoint answers to in its network. */
  readonly names: readonly string[];
  /** This endpoint carries the sandbox's default route. */
  readonly isDefaultRoute: boolean;
  /** The same for IPv6. */
  readonly isIpv6DefaultRoute?: boolean;
}

export interface SandboxRecord {
  readonly id: string;
  /** For messages: who holds a port or an address. */
  readonly label: string;
  readonly netnsPath: string;
  readonly endpoints: readonly EndpointRecord[];
  readonly ports: readonly PublishedPort[];
  /** Made ahead and nobody's yet: it gives way to whoever needs its address or the end of its network. */
  readonly isReserved?: true;
}

export interface PeersRecord extends OverlayPeers {
  /** Of the network. */
  readonly id: string;
}

/** What the caller said of Services last: they are served at once when the shim is back, before it says so again. */
export interface BalancingRecord {
  readonly id: 'balancing';
  readonly services: readonly ServiceSpec[];
  readonly ingress: IngressSpec | null;
}

export interface NetworkRecords {
  loadNetworks(): NetworkSpec[];
  loadSandboxes(): SandboxRecord[];
  loadPeers(): PeersRecord[];
  loadNames(): ReadonlyMap<string, NamesOfNetwork>;
  saveNames(names: ReadonlyMap<string, NamesOfNetwork>): void;
  loadBalancing(): BalancingRecord | undefined;
  saveBalancing(record: BalancingRecord): void;
  saveNetwork(spec: NetworkSpec): void;
  saveSandbox(record: SandboxRecord): void;
  savePeers(record: PeersRecord): void;
  /** With its peers. */
  deleteNetwork(id: string): void;
  deleteSandbox(id: string): void;
  purge(): void;
}

/**
 * Records below `folder`, which is made if absent. A file that does not hold what it should is reported and put aside
 * when it is loaded: whoever asked for the object will ask again.
 */
export function openRecords(folder: string, onDamaged: (file: string, error: unknown) => void): NetworkRecords {
  const folders = {
    networks: join(folder, 'networks'),
    sandboxes: join(folder, 'sandboxes'),
    peers: join(folder, 'peers'),
    balancing: join(folder, 'balancing'),
    names: join(folder, 'names'),
  };
  for (const path of Object.values(folders)) mkdirSync(path, { recursive: true, mode: 0o700 });
  // Ids come from outside: their hash is always a safe file name.
  const fileOf = (kind: keyof typeof folders, id: string): string => join(folders[kind], `${shortHash(id, 32)}.json`);
  for (const path of Object.values(folders)) removeTemporaryFiles(path);
  const save = (path: string, value: unknown): void => writeRecordFile(path, JSON.stringify(value));
  const load = <T extends { readonly id: string }>(kind: keyof typeof folders, check: (record: T) => void): T[] =>
    readdirSync(folders[kind])
      .filter((name) => name.endsWith('.json'))
      .flatMap((name) => {
        const file = join(folders[kind], name);
        try {
          const record = JSON.parse(readFileSync(file, 'utf8')) as T;
          if (fileOf(kind, record.id) !== file) throw new Error('the record names another id');
          check(record);
          return [record];
        } catch (error) {
          onDamaged(file, error);
          renameSync(file, `${file}.damaged`);
          return [];
        }
      });
  return {
    loadNetworks: () => load<NetworkSpec>('networks', checkNetwork),
    loadSandboxes: () => load<SandboxRecord>('sandboxes', checkSandbox),
    loadPeers: () => load<PeersRecord>('peers', checkPeers),
    loadNames: () => new Map(load<NamesRecord>('names', checkNames)[0]?.networks.map(readNames)),
    saveNames: (names) => save(fileOf('names', 'names'), { id: 'names', networks: [...names].map(writeNames) }),
    loadBalancing: () => load<BalancingRecord>('balancing', checkBalancing)[0],
    saveBalancing: (record) => save(fileOf('balancing', record.id), record),
    saveNetwork: (spec) => save(fileOf('networks', spec.id), spec),
    saveSandbox: (record) => save(fileOf('sandboxes', record.id), record),
    savePeers: (record) => save(fileOf('peers', record.id), record),
    deleteNetwork(id) {
      for (const kind of ['networks', 'peers'] as const) rmSync(fileOf(kind, id), { force: true });
    },
    deleteSandbox: (id) => rmSync(fileOf('sandboxes', id), { force: true }),
    purge: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function checkNetwork(spec: NetworkSpec): void {
  if (!(spec.mtu > 0)) throw new Error('the record has no MTU');
  if (typeof spec.domain !== 'string') throw new Error('the record has no domain');
  validateNetwork(spec, []);
}

function checkPeers({ id, ...peers }: PeersRecord): void {
  validatePeers(id, peers);
}

interface NamesRecord {
  readonly id: string;
  readonly networks: readonly ReturnType<typeof writeNames>[];
}

const writeNames = ([network, { names, elsewhere }]: readonly [string, NamesOfNetwork]) => ({
  ...{ network, names: [...names], elsewhere: [...elsewhere] },
});

const readNames = ({ network, names, elsewhere }: ReturnType<typeof writeNames>): [string, NamesOfNetwork] => [
  network,
  { names: new Map(names), elsewhere: new Map(elsewhere) },
];

function checkNames({ networks }: NamesRecord): void {
  for (const [, addresses] of networks.flatMap(({ names, elsewhere }) => [...names, ...elsewhere]))
    for (const ip of addresses) addressBytes(ip);
}

function checkBalancing({ services, ingress }: BalancingRecord): void {
  for (const { id } of services) if (typeof id !== 'string') throw new Error('the record lacks a name');
  validateServices(services, ingress ?? undefined);
}

function checkMac(mac: string): void {
  if (!isMac(mac)) throw new Error(`invalid MAC address ${mac}`);
}

/** What is used without a further look: a link's name, addresses, ports. */
function checkSandbox({ label, netnsPath, endpoints, ports }: SandboxRecord): void {
  for (const { hostLink, network, ipv4Address, prefixLength, macAddress, gateway, name, names, ipv6 } of endpoints) {
    for (const text of [label, netnsPath, hostLink, network, name, ...names])
      if (typeof text !== 'string') throw new Error('the record lacks a name');
    parseCidr(`${ipv4Address}/${prefixLength}`);
    parseIp(gateway);
    checkMac(macAddress);
    if (!ipv6) continue;
    parseIpv6Cidr(`${ipv6.address}/${ipv6.prefixLength}`);
    parseIpv6(ipv6.gateway);
  }
  for (const { protocol, containerPort, hostPort, hostIp } of ports) {
    const isValid = [containerPort, hostPort].every((port) => Number.isInteger(port) && port > 0 && port < 65_536);
    if (!isValid || !['TCP', 'UDP'].includes(protocol)) throw new Error('the record has an invalid port');
    if (hostIp !== '') addressBytes(hostIp);
  }
}
