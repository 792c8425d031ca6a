// Debian's kubectl (1.20, five years older than the API it meets here) does what a beginner needs. Its package is
// fetched and unpacked into a temporary folder, never installed.
import assert from 'node:assert/strict';
import test from 'node:test';
import { importBusybox } from '../support/busybox.ts';
import { unpackProgram } from '../support/debian-package.ts';
import { asYaml, runCommand, startInstance, type CommandResult } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const MANIFEST = `
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: one, labels: { app: shop } }
spec:
  imageName: busybox
  command: [sh, -c, "echo ready; exec sleep 1000000"]
  terminationGracePeriodSeconds: 1
---
apiVersion: windlass.dev/v1
kind: Service
metadata: { name: web }
spec:
  replicas: 1
  template:
    metadata: { labels: { app: shop } }
    spec: { imageName: busybox, command: [sleep, "1000000"], terminationGracePeriodSeconds: 1 }
`;

test('kubectl 1.20 of Debian', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft')) return;
  const program = await unpackProgram(t, { name: 'kubernetes-client', file: 'usr/bin/kubectl', version: '1.20.' });
  if (program === undefined) return;
  const instance = await startInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  const kubectl = (args: string[], input = ''): Promise<CommandResult> =>
    runCommand(program, args, { env: instance.env, input });
  const kubectlOk = async (args: string[], input = ''): Promise<string> => {
    const result = await kubectl(args, input);
    if (result.code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${result.code}: ${result.stderr}`);
    return result.stdout;
  };
  await importBusybox(instance);

  await t.test('version, api-resources and explain', async () => {
    assert.match(await kubectlOk(['version', '--short']), /Client Version: v1\.20\.[\s\S]*Server Version: v1\.32\./);
    assert.match(await kubectlOk(['api-resources']), /^containers +ctr +windlass.dev\/v1 +true +Container$/m);
    assert.match(await kubectlOk(['explain', 'ctr.spec.ports']), /hostPort\s+<integer>/);
    assert.match(await kubectlOk(['explain', 'cm.data']), /map\[string\]string/);
  });

  await t.test('apply validates, creates, patches and leaves alone', async () => {
    assert.match(await kubectlOk(['apply', '-f', '-'], MANIFEST), /container\.windlass\.dev\/one created/);
    assert.match(await kubectlOk(['apply', '-f', '-'], MANIFEST), /container\.windlass\.dev\/one unchanged/);
    const patched = MANIFEST.replace('{ app: shop }', '{ app: shop, tier: back }');
    assert.match(await kubectlOk(['apply', '-f', '-'], patched), /container\.windlass\.dev\/one configured/);
    const unknown = await kubectl(['apply', '-f', '-'], MANIFEST.replace('replicas: 1', 'replicaz: 1'));
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /unknown field "replicaz"/);
    const settings = (color: string): string =>
      asYaml(`{ apiVersion: v1, kind: ConfigMap, metadata: { name: settings }, data: { color: ${color} } }`);
    await kubectlOk(['apply', '-f', '-'], settings('blue'));
    await kubectlOk(['apply', '-f', '-'], settings('red'));
    assert.equal(await kubectlOk(['get', 'cm', 'settings', '-o', 'jsonpath={.data.color}']), 'red');
  });

  await t.test('wait, get and describe', async () => {
    await kubectlOk(['wait', '--for=condition=Ready', 'ctr/one', 'services.windlass.dev/web', '--timeout=60s']);
    assert.match(await kubectlOk(['get', 'ctr']), /^one +Running +True/m);
    assert.match(await kubectlOk(['get', 'all']), /service\.windlass\.dev\/web/);
    assert.match(await kubectlOk(['get', 'nodes,pods', '-o', 'wide']), /node\/.* Ready/);
    assert.match(await kubectlOk(['describe', 'ctr', 'one']), /Events:[\s\S]*Started/);
    assert.match(await kubectlOk(['describe', 'pod', 'one']), /Status: +Running/);
    assert.match(await kubectlOk(['describe', 'node']), /Non-terminated Pods: +\(2 in total\)/);
  });

  await t.test('logs and exec, which speaks SPDY then', async () => {
    await waitFor(async () => (await kubectlOk(['logs', 'one'])).includes('ready'));
    assert.equal(await kubectlOk(['exec', 'one', '--', 'echo', 'hi']), 'hi\n');
    assert.equal(await kubectlOk(['exec', '-i', 'one', '--', 'cat'], 'through stdin'), 'through stdin');
    assert.equal((await kubectl(['exec', 'one', '--', 'sh', '-c', 'exit 7'])).code, 7);
  });

  await t.test('label, edit, scale and delete', async () => {
    await kubectlOk(['label', 'ctr', 'one', 'color=blue']);
    const edited = await runCommand(program, ['edit', 'ctr', 'one'], {
      env: { ...instance.env, KUBE_EDITOR: "sed -i -e 's/color: blue/color: red/'" },
    });
    assert.match(edited.stdout, /edited/, edited.stderr);
    assert.equal(await kubectlOk(['get', 'ctr', 'one', '-o', 'jsonpath={.metadata.labels.color}']), 'red');
    await kubectlOk(['scale', 'services.windlass.dev/web', '--replicas=2']);
    await waitFor(async () => /^web-2 +Running/m.test(await kubectlOk(['get', 'ctr'])), { timeoutMs: 20_000 });
    await kubectlOk(['delete', '-f', '-', '--timeout=40s'], MANIFEST);
    await waitFor(async () => (await kubectlOk(['get', 'ctr', '-o', 'name'])) === '', { timeoutMs: 20_000 });
    await kubectlOk(['create', 'ns', 'shop']);
    await kubectlOk(['delete', 'ns', 'shop', '--timeout=40s']);
  });
});
