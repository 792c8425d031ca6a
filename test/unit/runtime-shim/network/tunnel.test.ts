import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { describeInstance, kernelNames } from '../../../../lib/instance.ts';
import { validateNetwork, validatePeers } from '../../../../runtime-shim/network/network-spec.ts';
import type { NetworkSpec, OverlayPeers } from '../../../../runtime-shim/network/node-network.ts';
import { wantedEntries, type OverlaySpec } from '../../../../runtime-shim/network/overlay.ts';
import { applyPeers } from '../../../../runtime-shim/network/peers.ts';
import { emptyState, peerElements, type NetworkState } from '../../../../runtime-shim/network/state.ts';
import { renderTables } from '../../../../runtime-shim/network/table-script.ts';
import {
  isTunnelKeyOld,
  makeTunnelKey,
  readTunnelKey,
  TUNNEL_KEY_LIFETIME_MS,
} from '../../../../runtime-shim/network/tunnel-key.ts';
import { diffTunnel, planTunnel } from '../../../../runtime-shim/network/tunnel.ts';

const keyOf = (byte: number): string => Buffer.alloc(32, byte).toString('base64');
const instance = describeInstance('/tmp/home', '/tmp/run');

function makeSpec(name: string, octet: number, overrides: Partial<NetworkSpec> = {}): NetworkSpec {
  return {
    id: `default/${name}`,
    subnets: [{ cidr: `10.${octet}.0.0/20`, gateway: `10.${octet}.0.1`, ranges: [`10.${octet}.0.0/27`] }],
    ...{ internal: false, isolated: false, mtu: 1370, domain: 'default' },
    overlay: {
      ...{ vni: 5000 + octet, port: 4789, underlayIp: '192.0.2.1', nodeIp: `10.${octet}.0.2` },
      ...{ nodeMac: '0a:00:0a:01:00:02', encryption: { ip: 'fd11::1', port: 51_820 } },
    },
    ...overrides,
  };
}

const B = { host: '192.0.2.2', ip: 'fd11::2', publicKey: keyOf(2) };
const C = { host: '192.0.2.3', ip: 'fd11::3', publicKey: keyOf(3) };
const makePeers = (...tunnels: (typeof B)[]): OverlayPeers => ({
  hosts: [B.host, C.host],
  endpoints: [
    { ip: '10.1.1.3', mac: '02:00:00:00:00:03', host: B.host },
    { ip: '10.1.2.3', mac: '02:00:00:00:00:04', host: C.host },
  ],
  tunnels,
});

function makeState(networks: readonly (readonly [NetworkSpec, OverlayPeers])[]): NetworkState {
  const state = emptyState();
  for (const [spec, peers] of networks) {
    state.networks.set(spec.id, spec);
    state.peers.set(spec.id, peers);
  }
  return state;
}

const secret = makeSpec('secret', 1);
const OPEN: NetworkSpec = {
  ...makeSpec('open', 2),
  overlay: { ...makeSpec('open', 2).overlay!, encryption: undefined! },
};
delete (OPEN.overlay as { encryption?: unknown }).encryption;

test('planTunnel() has the nodes of the encrypted networks as peers, each with its one address, and no device without such a network', () => {
  const plan = planTunnel(makeState([[secret, makePeers(B, C)]]));
  const endpoint = (host: string) => ({ ip: host, port: 51_820 });
  assert.deepEqual(plan, {
    ...{ ip: 'fd11::1', port: 51_820, mtu: 1440 },
    peers: [
      { publicKey: B.publicKey, allowedIp: B.ip, endpoint: endpoint(B.host) },
      { publicKey: C.publicKey, allowedIp: C.ip, endpoint: endpoint(C.host) },
    ],
  });
  assert.equal(planTunnel(makeState([[OPEN, { hosts: [B.host], endpoints: [] }]])), undefined);
  assert.equal(planTunnel(makeState([[makeSpec('small', 3, { mtu: 600 }), makePeers()]]))?.mtu, 1280);
});

test('planTunnel() drops the key of a node that is gone, and the old one of a node with a new one', () => {
  const keys = (...peers: OverlayPeers[]): (string | undefined)[] =>
    planTunnel(makeState(peers.map((one, index) => [makeSpec(`n${index}`, index + 1), one])))?.peers.map(
      ({ publicKey }) => publicKey,
    ) ?? [];
  assert.deepEqual(keys(makePeers(B, C)), [B.publicKey, C.publicKey]);
  assert.deepEqual(keys(makePeers(B)), [B.publicKey]);
  const renewed = { ...B, publicKey: keyOf(22) };
  assert.deepEqual(keys(makePeers(renewed)), [keyOf(22)]);
  assert.deepEqual(keys(makePeers(B), makePeers(renewed)), [keyOf(22)], 'one network has been told, the other not yet');
});

test('diffTunnel() changes what differs and nothing else', () => {
  const plan = planTunnel(makeState([[secret, makePeers(B, C)]]));
  assert.ok(plan);
  const own = { publicKey: keyOf(1), privateKey: Buffer.alloc(32, 100) };
  const has = (...names: (typeof B)[]) =>
    new Map(
      names.map(({ publicKey, host, ip }) => [publicKey, { endpoint: `${host}:51820`, allowedIps: [`${ip}/128`] }]),
    );
  const present = { publicKey: own.publicKey, listenPort: 51_820, peers: has(B, C) };
  const diff = (other: Partial<typeof present>, withEndpoints = false) =>
    diffTunnel(plan, own, { ...present, ...other }, { withEndpoints });
  assert.equal(diff({}), undefined);
  const [first, second] = plan.peers;
  assert.deepEqual(diff({ peers: has(B) }), { remove: [], set: [second] });
  assert.deepEqual(diff({ peers: has(B, C, { ...C, publicKey: keyOf(9) }) }), { remove: [keyOf(9)], set: [] });
  assert.deepEqual(diff({ publicKey: '' }), { privateKey: own.privateKey, remove: [], set: [] });
  assert.deepEqual(diff({ listenPort: 1 }), { listenPort: 51_820, remove: [], set: [] });
  const foreign = has(B, { ...C, ip: 'fd11::2' });
  assert.deepEqual(diff({ peers: foreign }), { remove: [], set: [second] }, 'an address that is not its own');
  const roamed = has({ ...B, host: '198.51.100.7' }, C);
  assert.equal(diff({ peers: roamed }), undefined, 'where a peer has shown to be');
  assert.deepEqual(diff({ peers: roamed }, true), { remove: [], set: [first] }, 'unless it was declared anew');
});

test('makeTunnelKey() keeps the private half for root alone, and readTunnelKey() takes no file that others could read', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-key-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'key.json');
  assert.equal(readTunnelKey(file), undefined);
  const key = makeTunnelKey(file);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(readTunnelKey(file), key);
  // What belongs together: the public half that Node finds for the private one.
  const der = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), key.privateKey]);
  const found = createPublicKey({ key: pem(der), format: 'pem' }).export({ format: 'jwk' }).x ?? '';
  assert.equal(Buffer.from(found, 'base64url').toString('base64'), key.publicKey);
  assert.notEqual(makeTunnelKey(file).publicKey, key.publicKey);
  chmodSync(file, 0o640);
  assert.equal(readTunnelKey(file), undefined);
  for (const text of [
    '',
    '{',
    '{}',
    '{"publicKey":1,"privateKey":2}',
    JSON.stringify({ publicKey: keyOf(0), privateKey: keyOf(0) }),
  ]) {
    writeFileSync(file, text, { mode: 0o600 });
    chmodSync(file, 0o600);
    assert.equal(readTunnelKey(file), undefined, text);
  }
});

const pem = (der: Buffer): string =>
  `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`;

test('isTunnelKeyOld() ends a key after a week, and one from the future', () => {
  const now = Date.UTC(2030, 0, 1);
  const old = (ageMs: number): boolean => isTunnelKeyOld({ bornMs: now - ageMs }, now);
  assert.deepEqual([old(0), old(TUNNEL_KEY_LIFETIME_MS), old(TUNNEL_KEY_LIFETIME_MS + 1)], [false, false, true]);
  assert.equal(old(-TUNNEL_KEY_LIFETIME_MS - 1), true);
});

test('wantedEntries() sends to addresses inside the tunnels, and nothing to a host without a key', () => {
  const state = makeState([[secret, makePeers(B)]]);
  const { forwarding, neighbours } = wantedEntries(state, secret as OverlaySpec);
  assert.deepEqual(forwarding, new Map([['02:00:00:00:00:03', B.ip]]));
  assert.deepEqual([...neighbours.keys()], ['10.1.1.3']);
});

test('peerElements() lets an encrypted network in from addresses inside the tunnels alone', () => {
  const of = (spec: NetworkSpec): string[] =>
    peerElements(instance, spec, makePeers(B)).map(({ set, words }) => `${set}: ${words}`);
  assert.deepEqual(of(secret), ['sealed: 4789 . 0x138900', `peers6: ${B.ip} . 0x138900`]);
  assert.equal(of(OPEN)[0], 'vnis: 4789 . 0x138a00');
  assert.equal(
    of(OPEN).some((words) => words.startsWith('sealed')),
    false,
  );
});

test('renderTables() drops a sealed VNI outside the tunnel, both ways, before anything lets it in', () => {
  const text = renderTables(instance, {
    elements: peerElements(instance, secret, makePeers(B)),
    serviceChains: new Map(),
  });
  const tunnel = kernelNames.tunnel(instance);
  const rules = (chain: string): string[] => {
    const body = new RegExp(`^chain ${chain} \\{\\n([^}]*)\\n\\}`, 'm').exec(text)?.[1] ?? '';
    return body.split('\n').map((line) => line.trim());
  };
  const early = rules('early');
  assert.deepEqual(early.slice(2, 5), [
    `iifname "${tunnel}" goto opened`,
    'udp dport . @th,96,32 @sealed drop',
    'udp dport . @th,96,32 @vnis jump tunnel',
  ]);
  assert.deepEqual(rules('opened'), ['udp dport . @th,96,32 @sealed ip6 saddr . @th,96,32 @peers6 accept', 'drop']);
  assert.equal(rules('outgoing')[1], `oifname != "${tunnel}" udp dport . @th,96,32 @sealed drop`);
});

test('validatePeers() and validateNetwork() refuse by name what no tunnel can have', () => {
  const refuse = (tunnels: (typeof B)[], expected: RegExp): void =>
    assert.throws(() => validatePeers('n', makePeers(...tunnels)), expected);
  validatePeers('n', makePeers(B, C));
  refuse([{ ...B, host: '192.0.2.9' }], /tunnel fd11::2 is to "192.0.2.9", which is none of the hosts/);
  refuse([{ ...B, ip: '10.0.0.1' }], /"10.0.0.1" is no address inside the tunnels/);
  refuse([{ ...B, ip: 'fd11:0::2' }], /"fd11:0::2" is no address inside the tunnels/);
  refuse([{ ...B, publicKey: 'AAAA' }], /"AAAA" of 192.0.2.2 is no key/);
  refuse([B, { ...C, publicKey: B.publicKey }], /tunnels to 192.0.2.2 and 192.0.2.3 have AgICAgIC.* in common/);
  refuse([B, { ...C, ip: B.ip }], /tunnels to 192.0.2.2 and 192.0.2.3 have fd11::2 in common/);
  const withEncryption = (encryption: { ip: string; port: number }): NetworkSpec => ({
    ...secret,
    overlay: { ...secret.overlay!, encryption },
  });
  assert.throws(
    () => validateNetwork(withEncryption({ ip: '192.0.2.1', port: 1 }), []),
    /no address inside the tunnels/,
  );
  assert.throws(() => validateNetwork(withEncryption({ ip: 'fd11::1', port: 0 }), []), /UDP port 0 is not from/);
  assert.throws(() => validateNetwork(withEncryption({ ip: 'fd11::1', port: 4789 }), []), /cannot be both/);
});

test('applyPeers() takes no keys for a network that is not encrypted, and records nothing of it', async () => {
  const state = makeState([[OPEN, { hosts: [], endpoints: [] }]]);
  const unused = (): never => assert.fail('must not get this far');
  const deps = {
    ...{ instance, state, records: { savePeers: unused }, links: undefined as never },
    ...{ tunnel: { sync: unused }, replaceElements: unused },
  };
  await assert.rejects(applyPeers(deps, OPEN.id, makePeers(B)), /it is not encrypted, but they have keys/);
  assert.deepEqual(state.peers.get(OPEN.id), { hosts: [], endpoints: [] });
});
