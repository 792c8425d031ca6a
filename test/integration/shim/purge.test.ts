import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { test } from 'node:test';
import { purgeInstance } from '../../../runtime-shim/purge.ts';
import { takeHostSnapshot } from '../../support/host-snapshot.ts';
import { requireRoot } from '../../support/require.ts';
import { startTestShim } from '../../support/shim.ts';

test('purgeInstance() takes what a killed shim leaves of pid holders and user namespaces', async (t) => {
  if (!requireRoot(t)) return;
  await using shim = await startTestShim();
  const { instance } = shim;
  const mapping = [{ containerId: 0, hostId: 1_000_000, length: 65_536 }];
  const options = { network: 'POD', pid: 'POD', ipc: 'POD' } as const;
  const usernsOptions = { mode: 'POD', uids: mapping, gids: mapping } as const;
  for (const [name, namespaceOptions] of [
    ['shared', options],
    ['mapped', { ...options, usernsOptions }],
  ] as const) {
    const linux = { securityContext: { namespaceOptions } };
    const mounts = [{ containerPath: '/v', hostPath: shim.logs, uidMappings: mapping, gidMappings: mapping }];
    const config = { command: ['sleep', '1000'], linux, mounts: name === 'mapped' ? mounts : [] };
    await shim.run(name, config, { linux });
  }
  const own = () => {
    const { mounts, processes, networkNamespaces } = takeHostSnapshot(instance);
    const ofInstance = (line: string): boolean => line.includes(instance.home) || line.includes(instance.run);
    return [
      ...mounts.filter(ofInstance),
      ...processes,
      ...networkNamespaces,
      ...globSync(`/sys/fs/cgroup/*/windlass-${instance.id}*`),
    ];
  };
  await shim.kill();
  assert.ok(own().length > 10);
  await purgeInstance(instance);
  assert.deepEqual(own(), []);
});
