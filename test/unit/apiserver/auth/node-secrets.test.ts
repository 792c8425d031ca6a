import assert from 'node:assert/strict';
import test from 'node:test';
import { authorizeNodeSecret, secretNamesOf } from '../../../../apiserver/auth/node-secrets.ts';
import type { ListOptions, ResourceStore } from '../../../../apiserver/storage/resource-store.ts';

test('secretNamesOf() finds every field by which a spec refers to a Secret, and nothing else', () => {
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
  assert.deepEqual([...secretNamesOf(spec)].toSorted(), ['all', 'build', 'files', 'key', 'pull', 'push']);
});

/** A store whose memory is behind: what it holds is seen by a read that asks for the newest state only. */
const storeOf = (...containers: object[]): Pick<ResourceStore, 'list'> => ({
  list: async ({ plural }, { revision }: ListOptions = {}) => {
    const isShown = plural === 'containers' && revision === undefined;
    const entries = isShown ? containers.map((spec) => ({ object: { spec } })) : [];
    return { entries: entries as never, revision: 1 };
  },
});

test('authorizeNodeSecret() lets a node have what its Containers refer to, known a moment ago or not', async () => {
  const pulls = (nodeName: string) => ({ nodeName, imagePullSecrets: [{ name: 'pull' }] });
  const ask = async (store: Pick<ResourceStore, 'list'>, groups: string[], verb = 'get'): Promise<boolean> => {
    const user = { name: 'system:node:n1', groups };
    const secret = { group: '', version: 'v1', resource: 'secrets', subresource: '', namespace: 'shop', name: 'pull' };
    return (await authorizeNodeSecret(store, user, { ...secret, verb })).allowed;
  };
  assert.equal(await ask(storeOf(pulls('n1')), ['system:nodes']), true);
  assert.equal(await ask(storeOf(pulls('n2')), ['system:nodes']), false);
  assert.equal(await ask(storeOf({ nodeName: 'n1' }), ['system:nodes']), false);
  assert.equal(await ask(storeOf(), ['system:masters']), true);
});
