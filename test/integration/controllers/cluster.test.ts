import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { test } from 'node:test';
import { eventKind, namespaceKind, nodeKind, type Event, type Namespace, type Node } from '../../../crds/builtin.ts';
import { containerKind, type Container } from '../../../crds/container.ts';
import { imageKind } from '../../../crds/image.ts';
import type { KindName, KubernetesObject } from '../../../crds/kind.ts';
import { networkKind } from '../../../crds/network.ts';
import { serviceKind } from '../../../crds/service.ts';
import { volumeKind } from '../../../crds/volume.ts';
import { startTestApiserver } from '../../support/apiserver.ts';
import { startTestControllers } from '../../support/controllers.ts';
import { makeContainer, makeImage, makeNetwork, makeService, makeVolume } from '../../support/objects.ts';
import { startPretendAgent } from '../../support/pretend-agent.ts';
import { requirePrograms } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const configMapKind: KindName = { group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps', namespaced: true };
type Owned = KubernetesObject & { data?: Record<string, string> };

test('the cluster controllers over a real API server', async (t) => {
  if (!requirePrograms(t, 'etcd')) return;
  await using api = await startTestApiserver();
  await using controllers = startTestControllers(api.kubeconfig, ['--node-monitor-grace-seconds', '300']);
  await using agent = await startPretendAgent(api.kubeconfig, 'n1');
  const { client } = agent;
  const containers = client.kind(containerKind);
  const networks = client.kind(networkKind);
  const volumes = client.kind(volumeKind);
  const images = client.kind(imageKind);
  const namespaces = client.kind<Namespace>(namespaceKind);
  const maps = client.kind<Owned>(configMapKind);
  const ready = (
    object:
      | {
          status?:
            | { conditions?: { type: string; status: string; reason: string; message: string }[] | undefined }
            | undefined;
        }
      | undefined,
  ) => object?.status?.conditions?.find(({ type }) => type === 'Ready');
  const createContainer = (
    name: string,
    spec: Parameters<typeof makeContainer>[1] = {},
    namespace = 'default',
  ): Promise<Container> => containers.create({ metadata: { name, namespace }, spec: makeContainer(name, spec).spec });
  const gone = async (name: string, namespace = 'default'): Promise<boolean> =>
    (await containers.get(name, namespace)) === undefined;

  await t.test('every namespace gets a default Network with addresses, also after it is deleted', async () => {
    await namespaces.create({ metadata: { name: 'team' } });
    const first = await waitFor(async () => {
      const network = await networks.get('default', 'team');
      return ready(network)?.status === 'True' && network;
    });
    assert.match(first.status?.subnets?.[0]?.cidr ?? '', /^10\.1\d\d\.\d+\.0\/20$/);
    assert.equal(first.status?.nodes?.[0]?.name, 'n1');
    const { items } = await networks.list();
    const cidrs = items.flatMap(({ status }) => status?.subnets?.map(({ cidr }) => cidr) ?? []);
    assert.equal(new Set(cidrs).size, cidrs.length);
    await networks.delete('default', 'team');
    await waitFor(async () => {
      const network = await networks.get('default', 'team');
      return network && network.metadata.uid !== first.metadata.uid && ready(network)?.status === 'True';
    });
  });

  await t.test('a Network that is used waits with its deletion and says for whom', async () => {
    await networks.create({ metadata: { name: 'front', namespace: 'team' }, spec: makeNetwork('front').spec });
    await createContainer('user', { networks: [{ name: 'front' }] }, 'team');
    await waitFor(async () => (await networks.get('front', 'team'))?.status?.nodes?.some(({ name }) => name === 'n1'));
    await networks.delete('front', 'team');
    const waiting = await waitFor(async () => {
      const condition = ready(await networks.get('front', 'team'));
      return condition?.reason === 'DeletionBlocked' && condition;
    });
    assert.match(waiting.message, /container user/);
    await containers.delete('user', 'team');
    await waitFor(async () => (await networks.get('front', 'team')) === undefined);
  });

  await t.test('overlapping subnets are a condition that clears when the other one goes', async () => {
    const spec = makeNetwork('x', { subnets: [{ cidr: '192.168.77.0/24' }] }).spec;
    await networks.create({ metadata: { name: 'one', namespace: 'team' }, spec });
    await waitFor(async () => ready(await networks.get('one', 'team'))?.status === 'True');
    await networks.create({ metadata: { name: 'two', namespace: 'team' }, spec });
    await waitFor(async () => ready(await networks.get('two', 'team'))?.reason === 'SubnetOverlap');
    await networks.delete('one', 'team');
    await waitFor(async () => ready(await networks.get('two', 'team'))?.status === 'True');
  });

  await t.test('a Volume is bound to the node of its first user and outlives it', async () => {
    await volumes.create({ metadata: { name: 'data', namespace: 'default' }, spec: makeVolume('data').spec });
    await waitFor(async () => (await volumes.get('data', 'default'))?.status?.phase === 'Pending');
    await createContainer('writer', { mounts: [{ mountPath: '/data', volume: 'data' }] });
    const bound = await waitFor(async () => {
      const volume = await volumes.get('data', 'default');
      return volume?.status?.phase === 'Bound' && volume;
    });
    assert.deepEqual([bound.status?.nodeName, bound.status?.inUseBy], ['n1', ['writer']]);
    await volumes.delete('data', 'default');
    const blocked = await waitFor(async () => {
      const condition = ready(await volumes.get('data', 'default'));
      return condition?.reason === 'DeletionBlocked' && condition;
    });
    assert.match(blocked.message, /container writer/);
    await containers.delete('writer', 'default');
    await waitFor(async () => (await volumes.get('data', 'default')) === undefined);
  });

  await t.test('an Image is given to a node; one that is built waits for a node that can', async () => {
    await images.create({
      metadata: { name: 'bb', namespace: 'default' },
      spec: makeImage('bb', { reference: 'busybox' }).spec,
    });
    const given = await waitFor(async () => {
      const image = await images.get('bb', 'default');
      return image?.metadata.annotations?.['windlass.dev/pull-node'] && image;
    });
    assert.deepEqual(
      [given.metadata.annotations?.['windlass.dev/pull-node'], given.metadata.finalizers],
      ['n1', ['windlass.dev/in-use']],
    );
    const spec = makeImage('built', { build: { context: { inline: { Dockerfile: 'FROM scratch' } } } }).spec;
    await images.create({ metadata: { name: 'built', namespace: 'default' }, spec });
    await waitFor(async () => ready(await images.get('built', 'default'))?.reason === 'NoNodeBuilds');
    await images.delete('bb', 'default');
    await waitFor(async () => (await images.get('bb', 'default')) === undefined);
  });

  await t.test('a Container that fits nowhere says why, and is placed when it fits', async () => {
    await createContainer('picky', { nodeSelector: { disk: 'fast' } });
    const waiting = await waitFor(async () => {
      const container = await containers.get('picky', 'default');
      return container?.status?.phase === 'Pending' && container;
    });
    assert.equal(ready(waiting)?.message, '0/1 nodes are available: 1 node(s) did not have the label disk=fast');
    assert.deepEqual(
      waiting.status?.conditions?.map(({ type, status, reason }) => `${type} ${status} ${reason}`),
      ['Scheduled False Unschedulable', 'Ready False Unschedulable'],
    );
    await client.kind<Node>(nodeKind).mergePatch('n1', undefined, { metadata: { labels: { disk: 'fast' } } });
    await waitFor(async () => (await containers.get('picky', 'default'))?.status?.phase === 'Running');
    const told = await waitFor(async () => {
      const { items } = await client
        .kind<Event>(eventKind)
        .list({ namespace: 'default', fieldSelector: 'involvedObject.name=picky' });
      return items.some(({ reason }) => reason === 'Scheduled') && new Set(items.map(({ reason }) => reason));
    });
    assert.deepEqual(told, new Set(['FailedScheduling', 'Scheduled']));
    await containers.delete('picky', 'default');
  });

  await t.test('a port conflict names port and holder, and clears when the holder goes', async () => {
    await createContainer('holder', { ports: [{ containerPort: 80, hostPort: 18080 }] });
    await waitFor(async () => (await containers.get('holder', 'default'))?.spec.nodeName);
    await createContainer('second', { ports: [{ containerPort: 80, hostPort: 18080 }] });
    const conflict = await waitFor(async () => {
      const condition = ready(await containers.get('second', 'default'));
      return condition?.reason === 'PortConflict' && condition;
    });
    assert.match(conflict.message, /host port 18080\/TCP taken \(n1: by container default\/holder\)/);
    await containers.delete('holder', 'default');
    await waitFor(async () => (await containers.get('second', 'default'))?.status?.phase === 'Running');
    await containers.delete('second', 'default');
  });

  await t.test('owned objects go with their owner: background, foreground, orphan', async () => {
    const own = async (owner: string, child: string): Promise<void> => {
      const { metadata } = await maps.create({ metadata: { name: owner, namespace: 'default' } });
      const ownerReferences = [
        { apiVersion: 'v1', kind: 'ConfigMap', name: owner, uid: metadata.uid ?? '', blockOwnerDeletion: true },
      ];
      await maps.create({ metadata: { name: child, namespace: 'default', ownerReferences } });
    };
    await own('back', 'back-child');
    await maps.delete('back', 'default', { propagationPolicy: 'Background' });
    await waitFor(async () => (await maps.get('back-child', 'default')) === undefined);
    await own('fore', 'fore-child');
    await maps.delete('fore', 'default', { propagationPolicy: 'Foreground' });
    await waitFor(
      async () =>
        (await maps.get('fore', 'default')) === undefined && (await maps.get('fore-child', 'default')) === undefined,
    );
    await own('free', 'free-child');
    await maps.delete('free', 'default', { propagationPolicy: 'Orphan' });
    await waitFor(async () => (await maps.get('free', 'default')) === undefined);
    assert.deepEqual((await maps.get('free-child', 'default'))?.metadata.ownerReferences ?? [], []);
    const ownerReferences = [
      { apiVersion: 'v1', kind: 'ConfigMap', name: 'never', uid: 'b3c1cb9e-0000-4000-8000-000000000000' },
    ];
    await maps.create({ metadata: { name: 'lost', namespace: 'default', ownerReferences } });
    await waitFor(async () => (await maps.get('lost', 'default')) === undefined);
  });

  await t.test('a finished Container is removed after its time', async () => {
    await createContainer('once', { image: 'fails', restartPolicy: 'Never', ttlSecondsAfterFinished: 1 });
    await waitFor(async () => (await containers.get('once', 'default'))?.status?.phase === 'Failed');
    await waitFor(() => gone('once'));
  });

  await t.test('a namespace is emptied, and says what it waits for', async () => {
    await createContainer('slow', {}, 'team');
    await containers.mergePatch('slow', 'team', { metadata: { finalizers: ['example.com/wait'] } });
    await client
      .kind(serviceKind)
      .create({ metadata: { name: 'web', namespace: 'team' }, spec: makeService('web', { replicas: 3 }).spec });
    await waitFor(async () => (await client.kind(serviceKind).get('web', 'team'))?.status?.readyReplicas === 3);
    await namespaces.delete('team', undefined);
    const waiting = await waitFor(async () => {
      const condition = (await namespaces.get('team', undefined))?.status?.conditions?.find(
        ({ type, status, message }) =>
          type === 'NamespaceFinalizersRemaining' && status === 'True' && !message?.includes('windlass.dev/node'),
      );
      return condition;
    });
    assert.match(waiting.message ?? '', /example.com\/wait on 1 object/);
    await containers.mergePatch('slow', 'team', { metadata: { finalizers: [] } });
    await waitFor(async () => (await namespaces.get('team', undefined)) === undefined, { timeoutMs: 20_000 });
    assert.deepEqual((await networks.list({ namespace: 'team' })).items, []);
  });

  await t.test('metrics of the loop are served, and the process can be found by its lease', async () => {
    const lease = await api.request(
      'GET',
      `/apis/coordination.k8s.io/v1/namespaces/windlass-system/leases/controllers-${hostname().toLowerCase()}`,
    );
    const address = lease.json<{ metadata: { annotations: Record<string, string> } }>().metadata.annotations[
      'windlass.dev/metrics-address'
    ];
    assert.equal(address, controllers.metricsAddress());
    const text = await (await fetch(`http://${address}/metrics`)).text();
    for (const name of [
      'service',
      'scheduler',
      'image',
      'volume',
      'network',
      'namespace',
      'node-lifecycle',
      'garbage-collector',
      'ttl-after-finished',
    ]) {
      assert.ok(text.includes(`workqueue_depth{name="${name}"}`), name);
    }
    assert.match(text, /leader_election_master_status\{name="windlass-controllers"\} 1/);
    assert.match(text, /scheduler_scheduling_attempt_duration_seconds_count\{result="scheduled"\} [1-9]/);
    assert.match(text, /rest_client_requests_total/);
  });
});
