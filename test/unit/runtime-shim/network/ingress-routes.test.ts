import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeInstance } from '../../../../lib/instance.ts';
import { isOwnRule, planIngressRoutes } from '../../../../runtime-shim/network/ingress-routes.ts';
import {
  BACK_TO_SENDER,
  MASQUERADED,
  PEER,
  peerMark,
  peerNumber,
  requirePeerNumbers,
} from '../../../../runtime-shim/network/marks.ts';
import { planEndpoint } from '../../../../runtime-shim/network/sandboxes.ts';
import { emptyState } from '../../../../runtime-shim/network/state.ts';

const instance = describeInstance('/var/lib/windlass', '/run/windlass');

test('peerNumber() is the same whoever else is there, and refuses what has no number', () => {
  assert.equal(peerNumber('10.255.0.0/20', '10.255.0.2'), 2);
  assert.equal(peerNumber('10.255.0.0/20', '10.255.15.255'), 4095);
  for (const ip of ['10.255.0.0', '10.255.16.0', '10.254.255.255', '192.0.2.1'])
    assert.equal(peerNumber('10.255.0.0/20', ip), undefined, ip);
  assert.equal(peerNumber('10.0.0.0/8', '10.1.0.0'), undefined, 'more than the bits hold');
  assert.throws(() => requirePeerNumbers('10.255.0.0/20', ['10.255.0.2', '192.0.2.1']), {
    reason: 'Invalid',
    message: '192.0.2.1 is not among the first 4095 addresses of 10.255.0.0/20',
  });
});

test('peerMark() stays in its own bits', () => {
  const [mask, rest] = [Number(PEER.mask), Number(PEER.rest)];
  assert.equal((mask ^ rest) >>> 0, 0xffffffff);
  assert.equal(peerMark(PEER.max), mask);
  for (const other of [BACK_TO_SENDER, MASQUERADED]) assert.equal(Number(other) & mask, 0);
});

test('planIngressRoutes() passes all others by with one rule, and leads each mark to its node', () => {
  const { rules, gateways } = planIngressRoutes(instance, 'br', new Map([[2, '10.255.0.2']]));
  const [skip, incoming, peer, end] = rules;
  assert.deepEqual(skip?.action, { goto: end?.preference });
  assert.deepEqual(skip?.mark, { value: 0, mask: 0x0fff0000 });
  assert.deepEqual([incoming?.inputLink, incoming?.action], ['br', { goto: end?.preference }]);
  assert.deepEqual(peer?.mark, { value: 0x20000, mask: 0x0fff0000 });
  assert.deepEqual([...gateways.values()], ['10.255.0.2']);
  assert.deepEqual(peer?.action, { table: [...gateways.keys()][0] });
  assert.deepEqual([end?.action, end?.mark], ['nop', undefined]);
  const preferences = rules.map(({ preference }) => preference);
  assert.deepEqual(
    preferences,
    preferences.toSorted((a, b) => a - b),
  );
  assert.ok(preferences.every((preference) => preference >= 1000 && preference < 1000 + 4 * 0x1000));
  assert.deepEqual(planIngressRoutes(instance, 'br', new Map()).rules, []);
});

test('isOwnRule() knows what the plan makes, and no rule of others with the same preference', () => {
  const { rules } = planIngressRoutes(instance, 'br', new Map([[4095, '10.255.15.255']]));
  assert.deepEqual(
    rules.map((rule) => isOwnRule(instance, rule)),
    rules.map(() => true),
  );
  const [{ preference } = { preference: 0 }] = rules;
  // A VPN's, one into the main table for a mark of ours, the one for VRFs, and a jump of an administrator.
  for (const rule of [
    { preference, mark: { value: 0x80000, mask: 0xff0000 }, action: { table: 52 } },
    { preference: preference + 2, mark: { value: 0x20000, mask: 0x0fff0000 }, action: { table: 254 } },
    { preference, action: { table: 0 } },
    { preference, action: { goto: 32_766 } },
    { preference, inputLink: 'eth0', action: 'nop' },
  ] as const)
    assert.equal(isOwnRule(instance, rule), false, JSON.stringify(rule));
});

test('planEndpoint() lets no container onto the ingress network', () => {
  const state = emptyState();
  const subnets = [{ cidr: '10.255.0.0/20', gateway: '10.255.0.1', ranges: [] }];
  for (const id of ['windlass-system/ingress', 'windlass-system/default'])
    state.networks.set(id, { id, subnets, internal: false, isolated: false, mtu: 1450, domain: '' });
  state.ingress = { network: 'windlass-system/ingress', ip: '10.255.0.2', peers: [] };
  const attach = (network: string) =>
    planEndpoint(instance, state, new Map(), { id: 'a', endpoints: [] }, { network, names: [] });
  assert.throws(() => attach('windlass-system/ingress'), { reason: 'Invalid', message: /is for nodes only/ });
  assert.equal(attach('windlass-system/default').ipv4Address, '10.255.0.2');
});
