import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  missingForContainer,
  missingForSandbox,
  toleratePlainCri,
} from '../../../../../controllers/node-agent/runtime/plain-cri.ts';
import type { NodeRuntime } from '../../../../../controllers/node-agent/runtime/node-runtime.ts';
import type { CriClient } from '../../../../../cri/client.ts';
import { WindlassError } from '../../../../../lib/errors.ts';

const unimplemented = async (): Promise<never> => {
  throw new WindlassError('Unimplemented', 'unknown service');
};
const attachments = (...list: object[]) => ({ 'network.windlass.dev/attachments': JSON.stringify(list) });

/** A runtime without the node service, and what was asked of CRI. */
function makePlain(overrides: Partial<NodeRuntime> = {}) {
  const calls: string[] = [];
  const plain = {
    version: async () => ({ name: 'containerd', version: '1.6' }),
    runSandbox: async () => {
      calls.push('runSandbox');
      return 'id';
    },
    pullImage: async (_reference: string, _credentials: unknown, onProgress: unknown) => {
      if (onProgress) await unimplemented();
      calls.push('pullImage');
    },
    ...Object.fromEntries(
      ['describe', 'inspectImage', 'copyUp', 'ensureNetwork', 'listNetworks', 'sandboxNetwork', 'setServices'].map(
        (name) => [name, unimplemented],
      ),
    ),
    ...overrides,
  } as unknown as NodeRuntime;
  const image = { id: 'sha256:1', repoTags: ['r/b:1'], repoDigests: ['r/b@sha256:2'], size: 7 };
  const info = JSON.stringify({ imageSpec: { os: 'linux', architecture: 'amd64', config: { Cmd: ['sh'] } } });
  const client = {
    images: {
      imageStatus: async ({ image: asked }: { image: { image: string } }) =>
        asked.image === 'gone' ? { image: null, info: {} } : { image, info: { info } },
    },
    runtime: {
      status: async () => ({ runtimeHandlers: [] }),
      podSandboxStatus: async () => ({
        status: { network: { ip: '10.1.0.2' }, annotations: attachments({ network: 'ns/default' }) },
      }),
    },
  } as unknown as CriClient;
  return { runtime: toleratePlainCri(plain, client), calls };
}

test('toleratePlainCri() answers by CRI what CRI knows', async () => {
  const { runtime, calls } = makePlain();
  assert.deepEqual(await runtime.inspectImage('r/b:1'), {
    ...{ id: 'sha256:1', digest: 'sha256:2', references: ['r/b:1'], sizeBytes: 7, layers: [], platform: 'linux/amd64' },
    config: { os: 'linux', architecture: 'amd64', config: { Cmd: ['sh'] } },
  });
  assert.equal(await runtime.inspectImage('gone'), undefined);
  await runtime.pullImage('r/b:1', undefined, () => undefined, AbortSignal.timeout(1000));
  assert.deepEqual(calls, ['pullImage']);
  assert.deepEqual((await runtime.sandboxNetwork('id')).interfaces, [
    { network: 'ns/default', name: 'eth0', ipv4Address: '10.1.0.2', macAddress: '', gateway: '' },
  ]);
  assert.deepEqual(await runtime.listNetworks(), []);
});

test('toleratePlainCri() refuses by name what CRI has no word for', async () => {
  const { runtime, calls } = makePlain();
  const network = { subnets: [], internal: false, isolated: false, mtu: 0, domain: '' };
  assert.deepEqual(await runtime.ensureNetwork({ id: 'ns/default', ...network }), { bridge: '' });
  await assert.rejects(runtime.ensureNetwork({ id: 'ns/other', ...network }), /containerd has one network of its own/);
  await assert.rejects(runtime.copyUp('i', '/data', '/v'), /noCopy: true/);
  await assert.rejects(runtime.runSandbox({ annotations: { 'runtime.windlass.dev/domainname': 'd' } }), {
    reason: 'Unimplemented',
    message: 'the container runtime containerd has no domainname',
  });
  assert.deepEqual(calls, []);
  await runtime.runSandbox({ annotations: attachments({ network: 'ns/default' }) });
  assert.deepEqual(calls, ['runSandbox']);
});

test('toleratePlainCri() leaves a runtime with our node service, and every other failure, alone', async () => {
  const described = {
    instanceId: 'x',
    metricsAddress: '',
    features: [],
    ociRuntime: 'crun',
    encryptionKey: '',
    encryptionLacks: '',
  };
  const own = makePlain({ describe: async () => described });
  assert.deepEqual(await own.runtime.describe(), described);
  await own.runtime.runSandbox({ annotations: { 'runtime.windlass.dev/domainname': 'd' } });
  const failing = makePlain({
    listNetworks: async () => {
      throw new WindlassError('Unavailable', 'away');
    },
  });
  await assert.rejects(failing.runtime.listNetworks(), { reason: 'Unavailable' });
});

test('toleratePlainCri() gives no sandbox to a runtime that would overlook its user namespace', async () => {
  const { runtime, calls } = makePlain();
  const mapping = [{ containerId: 0, hostId: 1_000_000, length: 65_536 }];
  const usernsOptions = { mode: 'POD', uids: mapping, gids: mapping } as const;
  await assert.rejects(runtime.runSandbox({ linux: { securityContext: { namespaceOptions: { usernsOptions } } } }), {
    reason: 'Unimplemented',
    message: /has no user namespaces/,
  });
  assert.deepEqual(calls, []);
});

test('missingForSandbox() and missingForContainer() name the fields a user wrote', () => {
  const shm = { 'runtime.windlass.dev/shm-size': '67108864' };
  assert.deepEqual(missingForSandbox({ annotations: shm }), []);
  assert.deepEqual(
    missingForSandbox({
      annotations: attachments({ network: 'a', ipv4Address: '10.0.0.9' }, { network: 'b' }),
      portMappings: [{ containerPort: 80, hostPort: 0 }],
    }),
    ['choice of a free host port', 'fixed ipv4Address', 'second network for a container'],
  );
  assert.deepEqual(
    missingForContainer({
      annotations: { 'runtime.windlass.dev/init': 'true', 'runtime.windlass.dev/groups': '["7","audio"]' },
    }),
    ['init', 'groups by name'],
  );
});
