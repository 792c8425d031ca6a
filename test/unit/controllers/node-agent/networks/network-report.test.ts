import assert from 'node:assert/strict';
import { test } from 'node:test';
import fastJsonPatch from 'fast-json-patch';
import { INGRESS_NETWORK, networkKind, type Network } from '../../../../../crds/network.ts';
import { apiVersionOf } from '../../../../../crds/kind.ts';
import { planNetworkReport } from '../../../../../controllers/node-agent/networks/network-report.ts';

type Nodes = NonNullable<NonNullable<Network['status']>['nodes']>;

const makeNetwork = (nodes: Nodes, { name, namespace } = { name: 'default', namespace: 'default' }): Network =>
  ({
    apiVersion: apiVersionOf(networkKind),
    kind: 'Network',
    metadata: { name, namespace, uid: 'u1' },
    spec: {},
    status: { nodes },
  }) as unknown as Network;

const ready = { state: 'Ready', bridge: 'wl0' } as const;
const failed = { state: 'Waiting', reason: 'NetworkFailed', message: 'no bridge' } as const;
const early = { state: 'Waiting', reason: 'NetworkNotReady', message: 'no VNI yet' } as const;

/** The entries after the report of node `a`, or undefined when it has none. */
function reported(
  network: Network,
  need: typeof ready | typeof failed | typeof early,
  isUsed = true,
): Nodes | undefined {
  const patch = planNetworkReport(network, 'a', { need, isUsed });
  if (!patch) return undefined;
  return fastJsonPatch.applyPatch(structuredClone(network), structuredClone(patch) as never, true).newDocument.status
    ?.nodes;
}

const other = { name: 'b', ranges: ['10.0.1.0/24'], ready: false, message: 'broken' };

test('planNetworkReport() changes what the node says of itself, and nothing else', () => {
  const mine = { name: 'a', ranges: ['10.0.0.0/24'] };
  const up = { ...mine, bridge: 'wl0', ready: true };
  const down = { ...mine, ready: false, message: 'no bridge' };
  assert.deepEqual(reported(makeNetwork([other, mine]), ready), [other, up]);
  assert.deepEqual(reported(makeNetwork([other, down]), ready), [other, up]);
  assert.deepEqual(reported(makeNetwork([mine, other]), failed), [down, other]);
  assert.deepEqual(reported(makeNetwork([up, other]), failed), [{ ...up, ready: false, message: 'no bridge' }, other]);
});

test('planNetworkReport() has nothing to say of what is said already, or of a network that has no entry for the node', () => {
  assert.equal(reported(makeNetwork([{ name: 'a', bridge: 'wl0', ready: true }]), ready), undefined);
  assert.equal(reported(makeNetwork([{ name: 'a', ready: false, message: 'no bridge' }]), failed), undefined);
  assert.equal(reported(makeNetwork([other]), ready), undefined);
});

test('planNetworkReport() of the network that all nodes have tells only of failures and their end, unless it is used', () => {
  const ingress = (entry: Nodes[number]): Network => makeNetwork([entry], INGRESS_NETWORK);
  assert.equal(reported(ingress({ name: 'a' }), ready, false), undefined);
  assert.equal(reported(ingress({ name: 'a' }), early, false), undefined);
  assert.deepEqual(reported(ingress({ name: 'a' }), ready), [{ name: 'a', bridge: 'wl0', ready: true }]);
  assert.deepEqual(reported(ingress({ name: 'a' }), failed, false), [
    { name: 'a', ready: false, message: 'no bridge' },
  ]);
  assert.deepEqual(reported(ingress({ name: 'a', ready: false, message: 'no bridge' }), ready, false), [
    { name: 'a', bridge: 'wl0', ready: true },
  ]);
});

test('planNetworkReport() is refused by an object in which the entry, or the Network, is another one', () => {
  const network = makeNetwork([{ name: 'a' }]);
  const patch = planNetworkReport(network, 'a', { need: ready, isUsed: true });
  const apply = (to: object): unknown =>
    fastJsonPatch.applyPatch(structuredClone(to), structuredClone(patch) as never, true);
  assert.throws(() => apply(makeNetwork([other])), { name: 'TEST_OPERATION_FAILED' });
  assert.throws(() => apply({ ...network, metadata: { ...network.metadata, uid: 'u2' } }), {
    name: 'TEST_OPERATION_FAILED',
  });
});
