import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encryptedCondition,
  readEncryption,
  refuseSharedKeys,
  tunnelAddress,
  type NodeEncryption,
} from '../../../../controllers/network/encryption.ts';
import { planNetworkStatus, type NetworkObserved } from '../../../../controllers/network/plan.ts';
import { planUnderlays } from '../../../../controllers/network/underlay.ts';
import { ENCRYPTION_KEY_ANNOTATION, ENCRYPTION_LACKS_ANNOTATION } from '../../../../controllers/runtime/object-key.ts';
import type { Network, NetworkStatus } from '../../../../crds/network.ts';
import { makeContainer, makeNetwork, makeNode, NOW } from '../../../support/objects.ts';

const keyOf = (byte: number): string => Buffer.alloc(32, byte).toString('base64');
const NO_WIREGUARD = 'the kernel has no WireGuard (CONFIG_WIREGUARD)';
const can = (name: string, byte: number): NodeEncryption => ({
  ...{ name, uid: `uid-${name}`, publicKey: keyOf(byte), lacks: '' },
});
const cannot = (name: string): NodeEncryption => ({ name, uid: `uid-${name}`, lacks: NO_WIREGUARD });

const NAMES = ['a', 'b', 'c'];
const underlays = planUnderlays(NAMES.map((name, index) => ({ name, addresses: [`192.0.2.${index + 1}`] })));
function status(network: Network, encryption: readonly NodeEncryption[], observed: Partial<NetworkObserved> = {}) {
  const result = planNetworkStatus({
    ...{ network, containers: [], taken: [], nodeNames: NAMES, underlays, encryption, now: NOW, clusterId: 'c1' },
    ...observed,
  });
  const say = (type: string): string | undefined => {
    const found = result.conditions?.find((one) => one.type === type);
    return found && `${found.status} ${found.reason}: ${found.message}`;
  };
  return { ...result, ready: say('Ready'), encrypted: say('Encrypted') };
}
const secret = (kept?: NetworkStatus): Network =>
  makeNetwork('n', { driver: 'overlay', encrypted: true, ...(kept ? { status: kept } : {}) });
const user = (nodeName: string) => makeContainer(`on-${nodeName}`, { nodeName, networks: [{ name: 'n' }] });

test('readEncryption() believes a node its key, and takes what is none for none', () => {
  const read = (annotations: Record<string, string>): string => {
    const { publicKey, lacks } = readEncryption(makeNode('a', { annotations }));
    return publicKey ?? lacks;
  };
  assert.equal(read({ [ENCRYPTION_KEY_ANNOTATION]: keyOf(1), [ENCRYPTION_LACKS_ANNOTATION]: '' }), keyOf(1));
  assert.equal(read({ [ENCRYPTION_KEY_ANNOTATION]: '', [ENCRYPTION_LACKS_ANNOTATION]: NO_WIREGUARD }), NO_WIREGUARD);
  assert.equal(read({}), 'its agent has not said that it can', 'an agent of an older version');
  for (const key of ['x', keyOf(0), `${keyOf(1)} `, Buffer.alloc(31, 1).toString('base64')])
    assert.equal(read({ [ENCRYPTION_KEY_ANNOTATION]: key }), 'its key is none', key);
});

test('tunnelAddress() is one range per cluster, and an address of its own for each node, in its shortest form', () => {
  const [one, other] = [tunnelAddress('c1', 'uid-a'), tunnelAddress('c1', 'uid-b')];
  assert.notEqual(one, other);
  assert.equal(tunnelAddress('c1', 'uid-a'), one);
  const range = (address: string): string => address.split(':').slice(0, 3).join(':');
  assert.equal(range(one), range(other));
  assert.notEqual(range(one), range(tunnelAddress('c2', 'uid-a')));
  assert.match(one, /^fd[0-9a-f]{2}:/);
  const all = Array.from({ length: 300 }, (_, index) => tunnelAddress('c1', `uid-${index}`));
  assert.deepEqual(
    all.filter((address) => new URL(`http://[${address}]`).hostname !== `[${address}]`),
    [],
  );
});

test('refuseSharedKeys() leaves a key to the node that has it in the network, and to nobody when that is not clear', () => {
  const keys = (nodes: NodeEncryption[], current?: NetworkStatus['nodes']): (string | undefined)[] =>
    refuseSharedKeys(nodes, current).map(({ publicKey, lacks }) => publicKey ?? lacks);
  const [a, b, c] = [can('a', 1), can('b', 1), can('c', 3)];
  assert.deepEqual(keys([a, b, c]), ['it has the key of node b', 'it has the key of node a', keyOf(3)]);
  const held = [{ name: 'a', encryptionKey: keyOf(1) }];
  assert.deepEqual(keys([a, b, c], held), [keyOf(1), 'it has the key of node a', keyOf(3)]);
  assert.deepEqual(keys([cannot('a'), cannot('b')]), [NO_WIREGUARD, NO_WIREGUARD]);
});

test('planNetworkStatus() gives each node that can encrypt its key and an address inside the tunnels', () => {
  const result = status(secret(), [can('a', 1), can('b', 2), can('c', 3)]);
  assert.equal(result.ready, 'True Allocated: no container uses it yet');
  assert.equal(result.encrypted, 'True AllNodes: all 3 node(s) have keys');
  assert.deepEqual([result.wireguardPort, result.vxlanPort], [51_820, 4789]);
  assert.deepEqual(
    result.nodes?.map(({ name, underlayIP, encryptionKey, tunnelIP }) => [name, underlayIP, encryptionKey, tunnelIP]),
    NAMES.map((name, index) => [name, `192.0.2.${index + 1}`, keyOf(index + 1), tunnelAddress('c1', `uid-${name}`)]),
  );
});

test('planNetworkStatus() names the nodes whose kernel cannot encrypt, and tells nobody where they are', () => {
  const mixed = [can('a', 1), cannot('b'), cannot('c')];
  const result = status(secret(), mixed);
  assert.equal(result.ready, 'True Allocated: no container uses it yet');
  assert.equal(
    result.encrypted,
    `False NodesLackEncryption: no container of this network runs on node b (${NO_WIREGUARD}), c (${NO_WIREGUARD})`,
  );
  assert.deepEqual(
    result.nodes?.map(({ underlayIP, encryptionKey }) => [underlayIP, encryptionKey !== undefined]),
    [
      ['192.0.2.1', true],
      [undefined, false],
      [undefined, false],
    ],
    'without it an agent of an older version would make the network in the clear',
  );
  assert.equal(
    status(secret(), mixed, { containers: [user('b')] }).ready,
    `False EncryptionUnavailable: spec.encrypted: not possible on node b (${NO_WIREGUARD})`,
  );
  assert.match(
    status(secret(), NAMES.map(cannot)).ready ?? '',
    /^False EncryptionUnavailable: .* a \(.*, b \(.*, c \(/,
  );
});

test('planNetworkStatus() follows a node to a new key, and forgets that of one that lost it or is gone', () => {
  const { ready: _, encrypted: __, ...kept } = status(secret(), [can('a', 1), can('b', 2), can('c', 3)]);
  const keys = (encryption: readonly NodeEncryption[], nodeNames = NAMES) =>
    status(secret(kept), encryption, { nodeNames }).nodes?.map(({ encryptionKey }) => encryptionKey);
  assert.deepEqual(keys([can('a', 9), can('b', 2), can('c', 3)]), [keyOf(9), keyOf(2), keyOf(3)]);
  assert.deepEqual(keys([can('a', 1), cannot('b'), can('c', 3)]), [keyOf(1), undefined, keyOf(3)]);
  assert.deepEqual(keys([can('a', 1), can('c', 3)], ['a', 'c']), [keyOf(1), keyOf(3)]);
});

test('planNetworkStatus() gives no keys to a network that is not encrypted, and refuses an encrypted ingress by name', () => {
  const open = status(makeNetwork('n', { driver: 'overlay' }), []);
  assert.deepEqual(
    [open.encrypted, open.wireguardPort, open.nodes?.some((node) => 'encryptionKey' in node)],
    [undefined, undefined, false],
  );
  const ingress = makeNetwork('ingress', {
    ...{ driver: 'overlay', encrypted: true, metadata: { namespace: 'windlass-system' } },
  });
  assert.equal(
    status(ingress, [can('a', 1)]).ready,
    'False NotSupported: spec.encrypted is not supported for the network of published ports',
  );
});

test('encryptedCondition() names a few of many nodes', () => {
  const many = Array.from({ length: 8 }, (_, index) => cannot(`n${index}`));
  assert.match(encryptedCondition(many).message, /n4 \([^,]*\) and 3 more$/);
});
