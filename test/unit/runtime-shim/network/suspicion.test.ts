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
