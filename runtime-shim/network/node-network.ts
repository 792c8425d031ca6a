// The contract between the CRI calls and the network of this node. The network owns links, addresses, nft elements and
// name records; callers own sandboxes and their network namespaces.
import type { PeerCounts } from './peer-health.ts';
import type { RelayCounts } from './relays.ts';

export interface NetworkSubnet {
  readonly cidr: string;
  readonly gateway: string;
  readonly ranges: readonly string[];
}

/** The IPv6 addresses of a network; what has an IPv4 address there has one of these besides (lib/ipv6.ts). */
export interface NetworkIpv6 {
  readonly cidr: string;
  readonly gateway: string;
  /** Part of cidr, of at most 96 bits of prefix: before the IPv4 address, what an address begins with. */
  readonly pool: string;
}

/** What a network over several nodes has besides. */
export interface NetworkOverlay {
  /** Id on the wire, from 1 to 16777215. */
  readonly vni: number;
  /** UDP port of every node's end. */
  readonly port: number;
  /** Address of this node, by which the others reach it. */
  readonly underlayIp: string;
  /** Address of this node's bridge in the network: unlike the gateway's, no other node has it. */
  readonly nodeIp: string;
  /** MAC of this node's bridge. */
  readonly nodeMac: string;
  /** Absent: what goes between nodes can be read there. */
  readonly encryption?: NetworkEncryption;
}

/** How this node takes part in the tunnels that encrypt. */
export interface NetworkEncryption {
  /** Its IPv6 address inside them. */
  readonly ip: string;
  /** UDP port of every node's end. */
  readonly port: number;
}

/** What a network has elsewhere. */
export interface OverlayPeers {
  /** Addresses that its packets may come from. */
  readonly hosts: readonly string[];
  /** Addresses, of either family, of containers and bridges of other nodes; `host` is the address of the node. */
  readonly endpoints: readonly { readonly ip: string; readonly mac: string; readonly host: string }[];
  /** Of an encrypted network: address and key that each host has inside the tunnels. Nothing goes to a host without. */
  readonly tunnels?: readonly { readonly host: string; readonly ip: string; readonly publicKey: string }[];
}

export interface NetworkSpec {
  readonly id: string;
  readonly subnets: readonly NetworkSubnet[];
  readonly internal: boolean;
  readonly isolated: boolean;
  readonly mtu: number;
  readonly domain: string;
  /** Absent: IPv4 alone. */
  readonly ipv6?: NetworkIpv6;
  /** Absent: the network ends at this node. */
  readonly overlay?: NetworkOverlay;
}

export interface Attachment {
  readonly network: string;
  readonly ipv4Address?: string;
  readonly ipv6Address?: string;
  readonly macAddress?: string;
  readonly names: readonly string[];
}

export interface InterfaceIpv6 {
  readonly address: string;
  readonly prefixLength: number;
  readonly gateway: string;
}

export interface NetworkInterface {
  readonly network: string;
  /** Name inside the sandbox: eth0, eth1, ... */
  readonly name: string;
  readonly ipv4Address: string;
  readonly prefixLength: number;
  readonly macAddress: string;
  readonly gateway: string;
  /** Absent: the network has none. */
  readonly ipv6?: InterfaceIpv6;
}

export interface PublishedPort {
  readonly protocol: 'TCP' | 'UDP';
  readonly containerPort: number;
  /** 0 = choose one. */
  readonly hostPort: number;
  /** '' = every address, `0.0.0.0` = every one of IPv4, `::` = every one of IPv6. */
  readonly hostIp: string;
}

export interface ServiceBackend {
  /** The same on every node: what makes them agree on the backend of a client. */
  readonly id: string;
  readonly ip: string;
  readonly port: number;
  /** `ip` and `port` are those by which another node takes in what is for its own backends. */
  readonly isRemote: boolean;
  /** About to be stopped: only what other nodes send here still goes to it, where nothing else here takes it. */
  readonly isDraining?: boolean;
  /** Of one on this node: where clients go that come to the published port by IPv6. */
  readonly ipv6?: string;
}

export interface ServicePort {
  readonly protocol: 'TCP' | 'UDP';
  readonly virtualIp: string;
  readonly port: number;
  readonly publishedPort: number;
  readonly backends: readonly ServiceBackend[];
  readonly sessionAffinity: boolean;
  /** How backends get the client's address: as the sender, not at all (they see this node), or in a header before the stream. */
  readonly clientAddress: 'Preserve' | 'Masquerade' | 'ProxyProtocol';
  /** Somebody else has the published port on this host: only what other nodes send to it is taken in. */
  readonly isTaken?: boolean;
}

/** Another node on the ingress network. */
export interface IngressPeer {
  readonly ip: string;
  /** MAC of its bridge. */
  readonly mac: string;
  /** Its addresses outside: it could not take in packets that seem to come from itself. */
  readonly hosts: readonly string[];
}

/** The network by which nodes hand on what arrives at published ports. */
export interface IngressSpec {
  readonly network: string;
  /** Address of this node there. */
  readonly ip: string;
  readonly peers: readonly IngressPeer[];
}

export interface ServiceSpec {
  readonly id: string;
  readonly ports: readonly ServicePort[];
}

/** Name -> addresses. */
export interface NamesOfNetwork {
  /** Names that nothing else has, even without an address. */
  readonly names: ReadonlyMap<string, readonly string[]>;
  /** Names of endpoints on other nodes, which sandboxes of this node may have too. */
  readonly elsewhere: ReadonlyMap<string, readonly string[]>;
}

export interface SandboxNetwork {
  readonly interfaces: readonly NetworkInterface[];
  readonly ports: readonly PublishedPort[];
}

/**
 * Every method is idempotent and may be retried after a crash at any point: what was made before is found again
 * (addresses and ports are recorded on disk before they are used) and completed or removed.
 */
export interface NodeNetwork {
  /** Reads records, compares them with the kernel, repairs; called once before the socket opens. */
  recover(): Promise<void>;
  /** Watches the kernel for drift (bridge deleted, table flushed, veth gone) and repairs it until `signal` fires; serves DNS. */
  run(signal: AbortSignal): Promise<void>;
  /** Why what run() found changed could not be put right at the last try; undefined while all is well. */
  trouble(): string | undefined;
  /**
   * Whether networks can be encrypted here: the public key of this node, or why not. A key that is missing or too old is
   * made anew, and is in force when this returns.
   */
  encryption(): { readonly publicKey: string } | { readonly lacks: string };
  /** Connections of published ports that this process relays. */
  relays(): RelayCounts;
  /** The other nodes of the ingress network as this one's probes find them, and what was sent and came back so far. */
  probes(): PeerCounts & { readonly sent: number; readonly answered: number; readonly silences: number };
  ensureNetwork(spec: NetworkSpec): Promise<{ bridge: string }>;
  /**
   * Declares all that an overlay has on other nodes; only what differs is changed. NotFound for a network that this node
   * has not got, Invalid for one that is no overlay.
   */
  setPeers(networkId: string, peers: OverlayPeers): Promise<void>;
  removeNetwork(networkId: string): Promise<void>;
  listNetworks(): readonly NetworkSpec[];
  /**
   * Connects the namespace at `netnsPath` (a bind mount of a net namespace) to the networks, with `lo` up, and
   * publishes the ports. All or nothing. AlreadyExists names the holder of a taken port, NotFound a missing network,
   * Conflict a taken address.
   */
  attachSandbox(
    sandboxId: string,
    netnsPath: string,
    attachments: readonly Attachment[],
    ports: readonly PublishedPort[],
    label: string,
  ): Promise<SandboxNetwork>;
  /** Connects a namespace to one network before anybody asks for it. Unavailable when no address is free. */
  reserveSandbox(sandboxId: string, netnsPath: string, networkId: string): Promise<void>;
  /** Makes a reserved sandbox an attached one: gives it names and ports. Throws as attachSandbox(). */
  adoptSandbox(
    sandboxId: string,
    names: readonly string[],
    ports: readonly PublishedPort[],
    label: string,
  ): Promise<SandboxNetwork>;
  /** `listener` detaches the reserved sandboxes of the network, which stand in the way of a caller. */
  onReservedInTheWay(listener: (networkId: string) => Promise<void>): void;
  /** Ids of all that are attached or reserved. */
  listSandboxes(): readonly string[];
  /**
   * Removes links, addresses, ports and names of the sandbox; succeeds when nothing is there. Names and ports are free
   * when it returns; an address that somebody asks for meanwhile is waited for.
   */
  detachSandbox(sandboxId: string): Promise<void>;
  attachNetwork(sandboxId: string, attachment: Attachment): Promise<NetworkInterface>;
  detachNetwork(sandboxId: string, networkId: string): Promise<void>;
  updatePorts(sandboxId: string, ports: readonly PublishedPort[]): Promise<readonly PublishedPort[]>;
  sandboxStatus(sandboxId: string): SandboxNetwork | undefined;
  /**
   * Declares all Services, and the ingress network if this node is on it: ports with a backend here are then taken in
   * from the peers, and remote backends are reached. Returns the published ports that could not be had. NotFound for an
   * ingress network that is not here, Invalid for a peer that cannot be one. Once they are in force the peers are told
   * that this node is as of `revision` of the cluster.
   */
  setServices(
    services: readonly ServiceSpec[],
    ingress?: IngressSpec,
    revision?: number,
  ): Promise<readonly { serviceId: string; protocol: string; port: number; holder: string }[]>;
  /** Resolves when all peers that answer have said they are as of `revision`, or after `timeoutMs`, with those that have not. */
  awaitPeers(revision: number, timeoutMs: number): Promise<readonly string[]>;
  /** Declares the names of each network, in lower case, beside those that the attached sandboxes have. */
  setNames(networks: ReadonlyMap<string, NamesOfNetwork>): void;
  /** Removes every link, table and record of the instance. */
  purge(): Promise<void>;
}
