import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NamespaceOption, PodSandboxConfig } from '../../../../cri/messages.ts';
import { pooledNetworkOf } from '../../../../runtime-shim/pool/pooled-network.ts';

const makeConfig = (attachments?: object, options: Partial<NamespaceOption> = {}, shmSize = ''): PodSandboxConfig =>
  ({
    annotations: {
      ...(attachments === undefined ? {} : { 'network.windlass.dev/attachments': JSON.stringify(attachments) }),
      'runtime.windlass.dev/shm-size': shmSize,
    },
    linux: { securityContext: { namespaceOptions: { network: 'POD', pid: 'POD', ipc: 'POD', ...options } } },
  }) as unknown as PodSandboxConfig;

test('pooledNetworkOf() names the network of an ordinary sandbox', () => {
  assert.equal(pooledNetworkOf(makeConfig()), 'default');
  assert.equal(pooledNetworkOf(makeConfig([{ network: 'a/b', names: ['x'] }])), 'a/b');
});

test('pooledNetworkOf() refuses whatever has something of its own', () => {
  const own: readonly PodSandboxConfig[] = [
    makeConfig([]),
    makeConfig([{ network: 'a' }, { network: 'b' }]),
    makeConfig([{ network: 'a', ipv4Address: '10.0.0.9' }]),
    makeConfig([{ network: 'a', macAddress: '02:00:00:00:00:01' }]),
    makeConfig([{ network: 'a' }], { network: 'NODE' }),
    makeConfig([{ network: 'a' }], { ipc: 'TARGET' }),
    makeConfig([{ network: 'a' }], { usernsOptions: { mode: 'POD', uids: [], gids: [] } }),
    makeConfig([{ network: 'a' }], {}, '1048576'),
  ];
  for (const config of own) assert.equal(pooledNetworkOf(config), undefined, JSON.stringify(config));
});
