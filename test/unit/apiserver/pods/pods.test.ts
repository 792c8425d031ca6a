import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerToPod } from '../../../../apiserver/pods/container-to-pod.ts';
import { checkLogOptions } from '../../../../apiserver/pods/log-handler.ts';
import { findTarget } from '../../../../apiserver/pods/find-target.ts';
import { agentQuery, checkHandshake } from '../../../../apiserver/pods/stream-handler.ts';
import { makeContainer } from '../../controllers/node-agent/make.ts';

const condition = (reason: string, status: 'True' | 'False') => [
  { type: 'Ready', status, reason, message: 'why', lastTransitionTime: '2026-11-23T12:00:00Z' },
];

test('containerToPod() shows each phase as kubectl knows it', () => {
  const show = (status: object) => {
    const pod = containerToPod(makeContainer({}, { status: status as never }));
    const [state] = Object.entries(pod.status.containerStatuses[0]?.state ?? {});
    return [pod.status.phase, state?.[0], (state?.[1] as { reason?: string } | undefined)?.reason].join(' ');
  };
  assert.equal(show({}), 'Pending waiting ContainerCreating');
  assert.equal(
    show({ phase: 'Pending', conditions: condition('BackOff', 'False') }),
    'Pending waiting CrashLoopBackOff',
  );
  assert.equal(
    show({ phase: 'Pending', conditions: condition('ErrImagePull', 'False') }),
    'Pending waiting ErrImagePull',
  );
  assert.equal(show({ phase: 'Running', startedAt: 'x' }), 'Running running ');
  assert.equal(show({ phase: 'Paused', startedAt: 'x' }), 'Running running ');
  assert.equal(show({ phase: 'Created', conditions: condition('Created', 'False') }), 'Pending waiting Created');
  assert.equal(show({ phase: 'Failed', exitCode: 137, reason: 'OOMKilled' }), 'Failed terminated OOMKilled');
  assert.equal(show({ phase: 'Succeeded', exitCode: 0 }), 'Succeeded terminated Completed');
});

test('containerToPod() keeps identity and leaves its argument alone', () => {
  const container = makeContainer(
    { ports: [{ containerPort: 80 }], mounts: [{ mountPath: '/d', volume: 'v' }] },
    {
      metadata: {
        labels: { 'windlass.dev/slot': 'node-a' },
        annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}', a: 'b' },
        ownerReferences: [{ apiVersion: 'windlass.dev/v1', kind: 'Service', name: 'api', uid: 's', controller: true }],
      },
    },
  );
  const copy = structuredClone(container);
  const pod = containerToPod(container);
  assert.deepEqual(container, copy);
  assert.deepEqual([pod.metadata.name, pod.metadata.uid, pod.metadata.resourceVersion], ['web', 'u1', '10']);
  assert.deepEqual(pod.metadata.annotations, { a: 'b' });
  assert.equal(pod.metadata.ownerReferences?.[0]?.kind, 'DaemonSet');
  assert.deepEqual(pod.spec.volumes, [{ name: 'mount-0', persistentVolumeClaim: { claimName: 'v' } }]);
});

test('findTarget() says of each thing that is missing which it is', async () => {
  const find = (container: object | undefined, query = '') =>
    findTarget(
      {
        get: async ({ plural }) =>
          plural === 'containers' && container ? ({ object: container } as never) : undefined,
      },
      { namespace: 'shop', name: 'web', query: new URLSearchParams(query), signal: new AbortController().signal },
    );
  await assert.rejects(find(undefined), { reason: 'NotFound', message: 'pods "web" not found' });
  await assert.rejects(find(makeContainer(), 'container=other'), /container other is not valid for pod web/);
  await assert.rejects(find(makeContainer({ nodeName: undefined })), /does not have a host assigned/);
  await assert.rejects(find(makeContainer()), /node "n1" of pod web is not in the cluster/);
});

test('checkHandshake() lets SPDY and known protocols pass and refuses others by name', () => {
  const webSocket = (protocols: string) => ({ upgrade: 'websocket', 'sec-websocket-protocol': protocols });
  checkHandshake('exec', webSocket('v5.channel.k8s.io, v4.channel.k8s.io'));
  checkHandshake('attach', { upgrade: 'SPDY/3.1' });
  checkHandshake('portforward', webSocket('SPDY/3.1+portforward.k8s.io'));
  assert.throws(() => checkHandshake('exec', webSocket('SPDY/3.1+portforward.k8s.io')), /want v5/);
  assert.throws(() => checkHandshake('portforward', webSocket('v5.channel.k8s.io')), /want SPDY/);
  assert.throws(() => checkHandshake('exec', { upgrade: 'SPDY/2' }), /unable to upgrade/);
  assert.throws(() => checkHandshake('exec', {}), /unable to upgrade/);
});

test('agentQuery() keeps the order of the command and translates the streams', () => {
  const query = new URLSearchParams(
    'command=sh&command=-c&command=a%20b&container=x&stdin=true&stdout=true&stderr=false&tty=1',
  );
  assert.equal(String(agentQuery(query)), 'command=sh&command=-c&command=a+b&input=1&output=1&tty=1');
});

test('checkLogOptions() refuses numbers that mean nothing, and two beginnings', () => {
  checkLogOptions(new URLSearchParams('tailLines=0&limitBytes=1&sinceSeconds=1&follow=true'));
  checkLogOptions(new URLSearchParams('sinceTime=2026-11-23T12:00:00Z'));
  for (const query of ['tailLines=-1', 'tailLines=x', 'limitBytes=0', 'sinceSeconds=0', 'sinceSeconds=']) {
    assert.throws(
      () => checkLogOptions(new URLSearchParams(query)),
      /PodLogOptions "" is invalid.*must be greater/,
      query,
    );
  }
  assert.throws(
    () => checkLogOptions(new URLSearchParams('sinceSeconds=1&sinceTime=2026-11-23T12:00:00Z')),
    /at most one of/,
  );
});
