import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeInstance, kernelNames } from '../../../../lib/instance.ts';
import { addressBytes } from '../../../../lib/ip-address.ts';
import { encodeAttributes, u32, type NetlinkMessage } from '../../../../runtime-shim/host/netlink.ts';
import { macBytes } from '../../../../runtime-shim/host/rtnetlink.ts';
import { validateNetwork, validatePeers } from '../../../../runtime-shim/network/network-spec.ts';
import type { NetworkSpec } from '../../../../runtime-shim/network/node-network.ts';
import { bridgeAddresses } from '../../../../runtime-shim/network/links.ts';
import {
  diffEntries,
  fitMtu,
  planEntries,
  wantedEntries,
  type OverlaySpec,
} from '../../../../runtime-shim/network/overlay.ts';
import { applyPeers, type PeersDeps } from '../../../../runtime-shim/network/peers.ts';
import { emptyState, peerElements, usedAddresses } from '../../../../runtime-shim/network/state.ts';
import { isSuspiciousNeighbour } from '../../../../runtime-shim/network/suspicion.ts';

const spec: NetworkSpec = {
  id: 'default/back',
  subnets: [{ cidr: '10.1.0.0/20', gateway: '10.1.0.1', ranges: ['10.1.0.0/27'] }],
  ...{ internal: false, isolated: false, mtu: 1450, domain: 'default' },
  overlay: { vni: 5000, port: 4789, underlayIp: '192.0.2.1', nodeIp: '10.1.0.2', nodeMac: '0a:00:0a:01:00:02' },
};
const FAR = { ip: '10.1.1.3', mac: '02:00:00:00:00:03', host: '192.0.2.2' };
const peers = { hosts: ['192.0.2.2'], endpoints: [FAR] };

test('fitMtu() takes what the uplink leaves, and refuses more by name', () => {
  const uplink = { name: 'eth0', mtu: 1500 };
  assert.deepEqual([fitMtu(uplink, 50, 0), fitMtu(uplink, 70, 0), fitMtu(uplink, 50, 1400)], [1450, 1430, 1400]);
  assert.equal(fitMtu({ name: 'lo', mtu: 65_536 }, 50, 0), 65_485);
  assert.throws(
    () => fitMtu(uplink, 50, 1451),
    /mtu 1451 does not fit: eth0 has an MTU of 1500 and VXLAN takes 50, want at most 1450/,
  );
});

test('planEntries() sends nothing elsewhere that is here, whatever a peer says', () => {
  const none = { macs: new Set<string>(), ips: new Set<string>() };
  const all = { forwarding: new Map([[FAR.mac, FAR.host]]), neighbours: new Map([[FAR.ip, FAR.mac]]) };
  const empty = { forwarding: new Map(), neighbours: new Map() };
  assert.deepEqual(planEntries(peers, none), all);
  assert.deepEqual(planEntries(peers, { ...none, macs: new Set([FAR.mac]) }), empty);
  assert.deepEqual(planEntries(peers, { ...none, ips: new Set([FAR.ip]) }), empty);
});

test('wantedEntries() is deaf to who claims the gateway, and to hosts of the other family', () => {
  const state = emptyState();
  const endpoints = [
    FAR,
    { ip: '10.1.0.1', mac: '02:00:00:00:00:04', host: FAR.host },
    { ip: '10.1.1.5', mac: '02:00:00:00:00:05', host: 'fd00::2' },
  ];
  state.peers.set(spec.id, { hosts: [FAR.host, 'fd00::2'], endpoints });
  assert.deepEqual([...wantedEntries(state, spec as OverlaySpec).neighbours.keys()], [FAR.ip]);
});

test('applyPeers() refuses a host of the other family before anything is recorded', async () => {
  const state = emptyState();
  state.networks.set(spec.id, spec);
  const deps = { instance: describeInstance('/a', '/b'), state } as unknown as PeersDeps;
  await assert.rejects(applyPeers(deps, spec.id, { hosts: ['fd00::2'], endpoints: [] }), {
    reason: 'Invalid',
    message: 'peers of network default/back: fd00::2 is not of the family of 192.0.2.1',
  });
  assert.equal(state.peers.size, 0);
});

test('diffEntries() sets what is absent or different and removes what is too many', () => {
  const wanted = new Map([
    ['a', '1'],
    ['b', '2'],
    ['c', '3'],
  ]);
  const present = new Map([
    ['a', '1'],
    ['b', '9'],
    ['d', '4'],
  ]);
  assert.deepEqual(diffEntries(wanted, present), {
    set: [
      ['b', '2'],
      ['c', '3'],
    ],
    remove: ['d'],
  });
  assert.deepEqual(diffEntries(wanted, wanted), { set: [], remove: [] });
});

test('the bridge of an overlay sends from the address that no other node has', () => {
  assert.deepEqual(bridgeAddresses(spec), [
    { ip: '10.1.0.2', prefixLength: 20 },
    { ip: '10.1.0.1', prefixLength: 32 },
  ]);
});

test('addresses of the node and of other nodes are in use', () => {
  const state = emptyState();
  state.networks.set(spec.id, spec);
  state.peers.set(spec.id, peers);
  assert.deepEqual([...usedAddresses(state, spec.id).values()], ['this node itself', 'the node at 192.0.2.2']);
});

test('peerElements() names each host once, in the set of its family', () => {
  const instance = describeInstance('/a', '/b');
  const words = peerElements(instance, spec, { hosts: ['192.0.2.2', '192.0.2.2', 'fd00::2'], endpoints: [] }).map(
    (element) => `${element.set} ${element.words}`,
  );
  assert.deepEqual(words, ['vnis 4789 . 0x138800', 'peers 192.0.2.2 . 0x138800', 'peers6 fd00::2 . 0x138800']);
  const { overlay: _, ...bridge } = spec;
  assert.deepEqual(peerElements(instance, bridge, undefined), []);
});

test('validateNetwork() and validatePeers() name the value that cannot be', () => {
  const refusal = (overlay: object): string => {
    try {
      validateNetwork({ ...spec, overlay: { ...spec.overlay, ...overlay } as NonNullable<NetworkSpec['overlay']> }, []);
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  };
  assert.equal(refusal({}), '');
  assert.match(refusal({ vni: 0 }), /VNI 0 is not from 1 to 16777215/);
  assert.match(refusal({ vni: 16_777_216 }), /VNI 16777216/);
  assert.match(refusal({ port: 70_000 }), /UDP port 70000/);
  assert.match(refusal({ underlayIp: 'node-1' }), /"node-1" is no address/);
  assert.match(refusal({ nodeIp: '10.2.0.1' }), /10.2.0.1 of this node is not in the first subnet/);
  assert.match(refusal({ nodeIp: '10.1.0.1' }), /is the gateway's/);
  assert.match(refusal({ nodeMac: '01:00:00:00:00:00' }), /no MAC of a bridge/);
  const other = { ...spec, id: 'default/other', subnets: [{ cidr: '10.9.0.0/24', gateway: '10.9.0.1', ranges: [] }] };
  const overlay = { ...(spec.overlay as object), nodeIp: '10.9.0.2' } as NonNullable<NetworkSpec['overlay']>;
  assert.throws(() => validateNetwork({ ...other, overlay }, [spec]), /VNI 5000 of network default\/other is that of/);
  assert.throws(() => validatePeers('n', { hosts: ['x'], endpoints: [] }), /"x" is no address of a node/);
  assert.throws(
    () => validatePeers('n', { hosts: [], endpoints: [FAR] }),
    /is at "192.0.2.2", which is none of the hosts/,
  );
  assert.throws(() => validatePeers('n', { hosts: ['fe80::1%eth0'], endpoints: [] }), /"fe80::1%eth0" is no address/);
  assert.match(refusal({ underlayIp: 'fe80::1%eth0' }), /"fe80::1%eth0" is no address/);
  assert.throws(
    () => validatePeers('n', { ...peers, endpoints: [{ ...FAR, ip: '10.1.1' }] }),
    /"10.1.1" is no address of an endpoint/,
  );
  const group = { ...FAR, mac: '33:33:00:00:00:01' };
  assert.throws(() => validatePeers('n', { ...peers, endpoints: [group] }), /no MAC of an endpoint/);
});

const [NEW, DELETED] = [28, 29];
const [DEVICE, BRIDGE] = [8, 7];
const [INET, BRIDGING] = [2, 7];
const STATE = { permanent: 0x80, static: 0x42, reachable: 0x02 } as const;

test('isSuspiciousNeighbour() tells the echo of our own changes from those of others', () => {
  const instance = describeInstance('/a', '/b');
  const state = emptyState();
  state.networks.set(spec.id, spec);
  state.peers.set(spec.id, peers);
  const indexOf = (name: string): number => (name === kernelNames.bridge(instance, spec.id) ? BRIDGE : DEVICE);
  const judge = (message: NetlinkMessage): boolean => isSuspiciousNeighbour(instance, state, [message], indexOf);
  const message = (
    type: number,
    {
      family = BRIDGING,
      index = DEVICE,
      neighState = STATE.static as number,
      mac = FAR.mac,
      dst = FAR.host,
      ofBridge = false,
    },
  ): NetlinkMessage => {
    const header = Buffer.alloc(12);
    header[0] = family;
    header.writeInt32LE(index, 4);
    header.writeUInt16LE(neighState, 8);
    const attributes = encodeAttributes([
      [2, macBytes(mac)],
      ...(dst === '' ? [] : [[1, addressBytes(dst)] as const]),
      ...(ofBridge ? [[9, u32(BRIDGE)] as const] : []),
    ]);
    return { type, flags: 0, sequence: 0, portId: 0, body: Buffer.concat([header, attributes]) };
  };
  const neighbour = { family: INET, index: BRIDGE, neighState: STATE.permanent, dst: FAR.ip };
  const stranger = '02:00:00:00:00:99';

  assert.equal(judge(message(NEW, {})), false, 'ours was set');
  assert.equal(judge(message(NEW, { ofBridge: true, dst: '' })), false, 'in the bridge too');
  assert.equal(judge(message(DELETED, { mac: stranger })), false, 'one that is not wanted any more left');
  assert.equal(judge(message(NEW, neighbour)), false, 'ours was set');
  assert.equal(judge(message(NEW, { ...neighbour, dst: '10.1.0.9', mac: stranger })), false, 'a container was learnt');
  assert.equal(judge(message(DELETED, { index: 99 })), false, 'another link');

  assert.equal(judge(message(DELETED, {})), true, 'ours was deleted');
  assert.equal(judge(message(DELETED, { ofBridge: true, dst: '' })), true, 'in the bridge only');
  assert.equal(judge(message(NEW, { dst: '192.0.2.77' })), true, 'sent elsewhere');
  assert.equal(judge(message(NEW, { mac: stranger })), true, 'one that nobody wants');
  assert.equal(judge(message(DELETED, neighbour)), true, 'ours was deleted');
  assert.equal(judge(message(NEW, { ...neighbour, mac: stranger })), true, 'another MAC');
});
