import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeInstance, kernelNames } from '../../../../lib/instance.ts';
import { encodeAttributes, text, u32, type NetlinkMessage } from '../../../../runtime-shim/host/netlink.ts';
import type { SandboxRecord } from '../../../../runtime-shim/network/records.ts';
import { emptyState } from '../../../../runtime-shim/network/state.ts';
import { isSuspicious } from '../../../../runtime-shim/network/suspicion.ts';

const [NEW_LINK, DELETED_LINK, NEW_ADDRESS] = [16, 17, 20];
const [IFLA_NAME, IFLA_MTU, IFLA_MASTER] = [3, 4, 10];
const instance = describeInstance('/a', '/b');
const network = { id: 'n', subnets: [], internal: false, isolated: false, mtu: 1500, domain: '' };
const [bridge, port] = [kernelNames.bridge(instance, 'n'), kernelNames.veth(instance, 's/n')];
const BRIDGE_INDEX = 7;

const state = emptyState();
state.networks.set('n', network);
state.sandboxes.set('s', { id: 's', endpoints: [{ hostLink: port, network: 'n' }] } as unknown as SandboxRecord);

function message(
  name: string,
  options: { type?: number; isUp?: boolean; master?: number; mtu?: number } = {},
): NetlinkMessage {
  const { type = NEW_LINK, isUp = true, master = 0, mtu = 1500 } = options;
  const header = Buffer.alloc(16);
  header.writeUInt32LE(isUp ? 1 : 0, 8);
  const attributes = encodeAttributes([
    [IFLA_NAME, text(name)],
    [IFLA_MTU, u32(mtu)],
    [IFLA_MASTER, u32(master)],
  ]);
  return { type, flags: 0, sequence: 0, portId: 0, body: Buffer.concat([header, attributes]) };
}
const judge = (...messages: NetlinkMessage[]): boolean => isSuspicious(instance, state, messages, () => BRIDGE_INDEX);

test('isSuspicious() takes the echo of our own changes for what it is', () => {
  assert.equal(judge(), false);
  assert.equal(judge(message('eth0'), message('docker0', { type: DELETED_LINK })), false);
  // A port is seen without its bridge first.
  assert.equal(judge(message(port), message(port, { master: BRIDGE_INDEX })), false);
  assert.equal(judge(message(bridge)), false);
  // The end of a link that nobody expects any more.
  assert.equal(judge(message(kernelNames.veth(instance, 'x/n'), { type: DELETED_LINK })), false);
  state.leaving.add(port);
  assert.equal(judge(message(port, { isUp: false })), false);
  state.leaving.delete(port);
});

test('isSuspicious() notices what somebody else did to our links', () => {
  assert.equal(judge(message(port, { type: DELETED_LINK })), true);
  assert.equal(judge(message(port, { isUp: false, master: BRIDGE_INDEX })), true);
  assert.equal(judge(message(port)), true, 'out of its bridge');
  assert.equal(judge(message(bridge, { type: DELETED_LINK })), true);
  assert.equal(judge(message(bridge, { isUp: false })), true);
  assert.equal(judge(message(bridge, { mtu: 1400 })), true);
  assert.equal(judge(message(kernelNames.veth(instance, 'unknown'))), true);
  assert.equal(judge({ ...message('eth0'), type: NEW_ADDRESS ?? 0 }), true);
});

test('isSuspicious() misses the device that encrypts as long as a network needs it, and no longer', () => {
  const tunnel = kernelNames.tunnel(instance);
  const isGone = { type: DELETED_LINK };
  assert.deepEqual([judge(message(tunnel, isGone)), judge(message(tunnel))], [false, true]);
  const overlay = {
    ...{ vni: 5000, port: 4789, underlayIp: '192.0.2.1', nodeIp: '10.1.0.2', nodeMac: '0a:00:0a:01:00:02' },
    encryption: { ip: 'fd11::1', port: 51_820 },
  };
  state.networks.set('secret', { ...network, id: 'secret', overlay });
  assert.deepEqual([judge(message(tunnel, isGone)), judge(message(tunnel))], [true, false]);
  assert.equal(judge(message(tunnel, { isUp: false })), true);
  state.networks.delete('secret');
});
