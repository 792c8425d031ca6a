import assert from 'node:assert/strict';
import test from 'node:test';
import { authorizeNodeData, namesReferredTo } from '../../../../apiserver/auth/node-data.ts';
import type { ListOptions, ResourceStore } from '../../../../apiserver/storage/resource-store.ts';

test('namesReferredTo() finds every field by which a spec refers to a Secret or a ConfigMap, and nothing else', () => {
  const spec = {
    imagePullSecrets: [{ name: 'pull' }],
    env: [
      { name: 'a', valueFrom: { secretKeyRef: { name: 'key', key: 'k' } } },
      { name: 'b', value: 'secret' },
    ],
    envFrom: [{ secretRef: { name: 'all' } }, { configMapRef: { name: 'map' } }],
    mounts: [{ mountPath: '/s', secret: { name: 'files', items: [{ key: 'k', path: 'p' }] } }],
    push: [{ reference: 'r', secretName: 'push' }],
    build: { secrets: [{ id: 'x', secretName: 'build' }] },
  };
  assert.deepEqual([...namesReferredTo('secrets', spec)].toSorted(), ['all', 'build', 'files', 'key', 'pull', 'push']);
  const maps = {
    env: [{ name: 'a', valueFrom: { configMapKeyRef: { name: 'key', key: 'k' } } }],
    envFrom: [{ secretRef: { name: 'secret' } }, { configMapRef: { name: 'all' } }],
    mounts: [
      { mountPath: '/c', configMap: { name: 'files' } },
      { mountPath: '/v', volume: 'configMap' },
    ],
  };
  assert.deepEqual([...namesReferredTo('configmaps', maps)].toSorted(), ['all', 'files', 'key']);
});

/** A store whose memory is behind: what it holds is seen by a read that asks for the newest state only. */
const storeOf = (...containers: object[]): Pick<ResourceStore, 'list'> => ({
  list: async ({ plural }, { revision }: ListOptions = {}) => {
    const isShown = plural === 'containers' && revision === undefined;
    const entries = isShown ? containers.map((spec) => ({ object: { spec } })) : [];
    return { entries: entries as never, revision: 1 };
  },
});

test('authorizeNodeData() lets a node have what its Containers refer to, known a moment ago or not', async () => {
  const pulls = (nodeName: string) => ({ nodeName, imagePullSecrets: [{ name: 'pull' }] });
  const ask = async (store: Pick<ResourceStore, 'list'>, groups: string[], verb = 'get'): Promise<boolean> => {
    const user = { name: 'system:node:n1', groups };
    const secret = { group: '', version: 'v1', resource: 'secrets', subresource: '', namespace: 'shop', name: 'pull' };
    return (await authorizeNodeData(store, user, { ...secret, verb })).allowed;
  };
  assert.equal(await ask(storeOf(pulls('n1')), ['system:nodes']), true);
  assert.equal(await ask(storeOf(pulls('n2')), ['system:nodes']), false);
  assert.equal(await ask(storeOf({ nodeName: 'n1' }), ['system:nodes']), false);
  assert.equal(await ask(storeOf(), ['system:masters']), true);
});
