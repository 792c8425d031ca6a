import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readVersion } from '../../../lib/version.ts';
import { criSuite } from '../../support/cri-suite.ts';

const suite = criSuite();

suite.test('the runtime tells its name and versions', async () => {
  assert.deepEqual(await suite.shim.cri.runtime.version({ version: 'v1' }), {
    version: '0.1.0',
    runtimeName: 'windlass',
    runtimeVersion: readVersion(),
    runtimeApiVersion: 'v1',
  });
});

suite.test('the runtime and its network are ready, the default handler is listed, features are told', async () => {
  const { status, runtimeHandlers, features, info } = await suite.shim.cri.runtime.status({});
  assert.deepEqual(
    status?.conditions.map(({ type, status: isTrue }) => [type, isTrue]),
    [
      ['RuntimeReady', true],
      ['NetworkReady', true],
    ],
  );
  assert.ok(runtimeHandlers.some(({ name }) => name === ''));
  assert.equal(features?.supplementalGroupsPolicy, true);
  assert.deepEqual(info, {});
});

suite.test('verbose information is JSON by topic and leads to the state folder', async () => {
  const { info } = await suite.shim.cri.runtime.status({ verbose: true });
  const config = JSON.parse(info['config'] ?? '') as { stateDir: string; runDir: string };
  assert.ok(config.stateDir.startsWith(suite.shim.instance.home) && config.runDir.startsWith(suite.shim.instance.run));
});

suite.test('control groups are made by path, and the answer stays the same', async () => {
  const { runtime } = suite.shim.cri;
  assert.deepEqual(await runtime.runtimeConfig({}), { linux: { cgroupDriver: 'CGROUPFS' } });
  await runtime.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr: '' } } });
  assert.deepEqual(await runtime.runtimeConfig({}), { linux: { cgroupDriver: 'CGROUPFS' } });
});

suite.test('a runtime handler that is not listed is refused', async () => {
  const config = { metadata: { name: 'handler', uid: 'u', namespace: 'n', attempt: 0 } };
  await assert.rejects(suite.shim.cri.runtime.runPodSandbox({ config, runtimeHandler: 'kata' }), {
    reason: 'Invalid',
    message: /kata/,
  });
});

suite.test('every call ends in DeadlineExceeded when its deadline has passed', async () => {
  const { runtime, images } = suite.shim.cri;
  // A deadline of 1 ms has passed when the request arrives, or passes while it is served.
  const late = { timeoutMs: 1 };
  const config = { metadata: { name: 'late', uid: 'u', namespace: 'n', attempt: 0 } };
  const calls = [
    runtime.runPodSandbox({ config }, late),
    images.pullImage({ image: { image: 'registry.invalid/late:1' } }, late),
    runtime.listPodSandboxMetrics({}, late),
  ];
  await Promise.all(calls.map((call) => assert.rejects(call, { reason: 'Timeout' })));
});

suite.test('what this runtime cannot do is refused by name', async () => {
  const { runtime } = suite.shim.cri;
  const sandbox = await suite.shim.runSandbox('refusals');
  const metadata = { name: 'refused', uid: 'u', namespace: 'n', attempt: 0 };
  await assert.rejects(runtime.runPodSandbox({ config: { metadata, windows: {} } }), {
    reason: 'Unimplemented',
    message: /windows/,
  });
  const selinuxOptions = { level: 's0' };
  const cases = [
    [{ windows: {} }, /windows/],
    [{ CDIDevices: [{ name: 'vendor.example/gpu=0' }] }, /CDI/],
    [{ linux: { securityContext: { selinuxOptions } } }, /selinux/],
  ] as const;
  for (const [config, message] of cases) {
    await assert.rejects(suite.shim.create(sandbox, config), { reason: 'Unimplemented', message });
  }
});

suite.test('CDI / checkpoint metadata', async (t) => {
  const sandbox = await suite.shim.runSandbox('checkpoint-metadata');
  const folder = mkdtempSync(join(tmpdir(), 'windlass-archive-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const restore = suite.shim.create(sandbox, { image: { image: join(folder, 'checkpoint.tar') } });
  await assert.rejects(restore, { reason: 'Unimplemented', message: /checkpoint/ });
  // Annotations by which other runtimes find devices and checkpoints are the caller's data, nothing more.
  const containerId = await suite.runSleeper({
    annotations: {
      'cdi.k8s.io/x': 'vendor.example/gpu=all',
      'io.kubernetes.cri-o.annotations.checkpoint.name': 'other',
      'io.kubernetes.cri-o.Devices': '/dev/kmsg',
    },
  });
  assert.equal(await suite.shim.exec(containerId, 'sh', '-c', 'ls /dev | grep -cE "kmsg|gpu" || true'), '0');
});
