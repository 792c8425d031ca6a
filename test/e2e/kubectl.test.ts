// Every kubectl command a new user tries, with the real kubectl against a whole machine.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import test from 'node:test';
import { importBusybox } from '../support/busybox.ts';
import { asYaml, runCommand, startInstance, type TestInstance } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const MANIFEST = `
apiVersion: windlass.dev/v1
kind: Network
metadata: { name: front, labels: { app: shop } }
spec: {}
---
apiVersion: windlass.dev/v1
kind: Volume
metadata: { name: data, labels: { app: shop } }
spec: {}
---
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: one, labels: { app: shop, tier: back } }
spec:
  imageName: busybox
  command: [sh, -c, "i=0; while true; do echo line $i; i=$((i+1)); sleep 1; done"]
  terminationGracePeriodSeconds: 1
  networks: [{ name: front }]
  mounts: [{ mountPath: /data, volume: data }]
---
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: two, labels: { app: shop, tier: front } }
spec:
  imageName: busybox
  command: [sleep, "1000000"]
  terminationGracePeriodSeconds: 1
---
apiVersion: windlass.dev/v1
kind: Service
metadata: { name: web, labels: { app: shop } }
spec:
  replicas: 2
  ports: [{ name: http, port: 80 }]
  template:
    metadata: { labels: { app: shop } }
    spec: { imageName: busybox, command: [httpd, -f, -p, "80"], terminationGracePeriodSeconds: 1 }
`;

test('kubectl', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const instance = await startInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  const { kubectl, kubectlOk } = instance;
  await importBusybox(instance);

  await t.test('version and api-resources', async () => {
    assert.match(await kubectlOk(['version']), /Server Version: v1\.32\./);
    const resources = await kubectlOk(['api-resources', '--api-group=windlass.dev', '-o', 'wide']);
    for (const row of [
      /^containers +ctr +windlass.dev\/v1 +true +Container/m,
      /^services +svc/m,
      /^images +img/m,
      /^volumes +vol/m,
      /^networks +net/m,
    ]) {
      assert.match(resources, row);
    }
  });

  await t.test('explain', async () => {
    assert.match(await kubectlOk(['explain', 'ctr.spec.ports']), /hostPort\s+<integer>/);
    assert.match(await kubectlOk(['explain', 'services.windlass.dev', '--recursive']), /updateStrategy/);
    assert.match(await kubectlOk(['explain', 'configmap.data']), /map\[string\]string/);
  });

  await t.test('apply', async () => {
    assert.match(await instance.apply(MANIFEST), /container\.windlass\.dev\/one created/);
  });

  await t.test('wait for every kind', async () => {
    await kubectlOk([
      'wait',
      '--for=condition=Ready',
      'ctr,vol,net,img,services.windlass.dev',
      '--all',
      '--timeout=60s',
    ]);
    await kubectlOk(['wait', '--for=jsonpath={.status.phase}=Running', 'ctr/one', '--timeout=10s']);
  });

  await t.test('apply again changes nothing', async () => {
    const generations = () =>
      kubectlOk(['get', 'ctr/one', 'services.windlass.dev/web', '-o', 'jsonpath={.items[*].metadata.generation}']);
    const before = await generations();
    // With a JSON merge patch, which is all that custom kinds have, kubectl sends lists whose items got defaults again
    // and says "configured", here as on any cluster: the server then has nothing to write.
    const again = await instance.apply(MANIFEST);
    assert.match(again, /^network.*unchanged\nvolume.*unchanged\n.*\ncontainer.*two unchanged\n/);
    assert.equal(await generations(), before);
  });

  await t.test('get in every form', async () => {
    assert.match(await kubectlOk(['get', 'ctr']), /^NAME +.*\none +.*Running/m);
    assert.match(await kubectlOk(['get', 'ctr', '-o', 'wide']), /NODE/);
    assert.equal((await kubectlOk(['get', 'ctr', 'one', '-o', 'name'])).trim(), 'container.windlass.dev/one');
    assert.equal(await kubectlOk(['get', 'ctr', 'one', '-o', 'jsonpath={.status.phase}']), 'Running');
    assert.equal(
      (JSON.parse(await kubectlOk(['get', 'ctr', 'one', '-o', 'json'])) as { kind: string }).kind,
      'Container',
    );
    assert.match(await kubectlOk(['get', 'ctr', 'one', '-o', 'yaml']), /apiVersion: windlass\.dev\/v1/);
    assert.match(await kubectlOk(['get', 'ctr', '-A']), /^NAMESPACE +NAME/);
    assert.deepEqual((await kubectlOk(['get', 'ctr', '-l', 'tier in (back)', '-o', 'name'])).trim().split('\n'), [
      'container.windlass.dev/one',
    ]);
    assert.match(await kubectlOk(['get', 'ctr', '--sort-by=.metadata.name']), /one[\s\S]*two[\s\S]*web-1/);
    assert.match(await kubectlOk(['get', 'all']), /service\.windlass\.dev\/web/);
    assert.match(await kubectlOk(['get', 'ns,nodes,cm,events', '-A']), /namespace\/default/);
    assert.match(await kubectlOk(['get', 'pods']), /^NAME +READY +STATUS/);
  });

  await t.test('get -w shows changes as they come', async () => {
    const child = spawn('kubectl', ['get', 'ctr', 'two', '-w', '-o', 'jsonpath={.metadata.labels.watched}{"\\n"}'], {
      env: instance.env,
    });
    let seen = '';
    child.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString('utf8')));
    await waitFor(() => seen.includes('\n'), { timeoutMs: 10_000 });
    await kubectlOk(['label', 'ctr', 'two', 'watched=yes']);
    await waitFor(() => seen.includes('yes'), { timeoutMs: 10_000 });
    child.kill();
  });

  await t.test('describe shows conditions and events', async () => {
    const text = await kubectlOk(['describe', 'ctr', 'one']);
    assert.match(text, /Conditions:/);
    assert.match(text, /Events:[\s\S]*Started/);
    assert.match(await kubectlOk(['describe', 'node']), /kubelet|Addresses:/i);
    assert.match(await kubectlOk(['describe', 'pod', 'one']), /Status: +Running/);
  });

  await t.test('label, annotate, patch and edit', async () => {
    await kubectlOk(['label', 'ctr', 'one', 'color=blue']);
    await kubectlOk(['annotate', 'ctr', 'one', 'note=hello']);
    await kubectlOk(['patch', 'ctr', 'one', '--type=merge', '-p', '{"metadata":{"labels":{"color":"red"}}}']);
    await kubectlOk([
      'patch',
      'ctr',
      'one',
      '--type=json',
      '-p',
      '[{"op":"add","path":"/metadata/labels/shape","value":"round"}]',
    ]);
    const edit = await runEdit(instance, ['edit', 'ctr', 'one'], 's/color: red/color: green/');
    assert.match(edit, /edited/);
    assert.deepEqual(
      await kubectlOk([
        'get',
        'ctr',
        'one',
        '-o',
        'jsonpath={.metadata.labels.color} {.metadata.labels.shape} {.metadata.annotations.note}',
      ]),
      'green round hello',
    );
    const strategic = await kubectl(['patch', 'ctr', 'one', '-p', '{}']);
    assert.equal(strategic.code, 1);
    assert.match(strategic.stderr, /strategic/i);
  });

  await t.test('diff and replace', async () => {
    const changed = MANIFEST.replace('replicas: 2', 'replicas: 3');
    const diff = await kubectl(['diff', '-f', '-'], { input: changed });
    assert.equal(diff.code, 1, diff.stderr);
    assert.match(diff.stdout, /\+ {2}replicas: 3/);
    assert.equal((await kubectl(['diff', '-f', '-'], { input: MANIFEST })).code, 0);
    const object = await kubectlOk(['get', 'vol', 'data', '-o', 'json']);
    assert.match(await kubectlOk(['replace', '-f', '-'], { input: object }), /replaced/);
  });

  await t.test('scale', async () => {
    await kubectlOk(['scale', 'services.windlass.dev/web', '--replicas=3']);
    await kubectlOk(['wait', '--for=jsonpath={.status.readyReplicas}=3', 'services.windlass.dev/web', '--timeout=30s']);
    await kubectlOk(['scale', 'services.windlass.dev/web', '--current-replicas=3', '--replicas=1']);
    await kubectlOk(['wait', '--for=delete', 'ctr/web-3', '--timeout=30s']);
    await kubectlOk(['wait', '--for=delete', 'ctr/web-2', '--timeout=30s']);
  });

  await t.test('logs', async () => {
    await waitFor(async () => (await kubectlOk(['logs', 'one'])).includes('line 2'), { timeoutMs: 15_000 });
    assert.equal((await kubectlOk(['logs', 'one', '--tail=1'])).trim().split('\n').length, 1);
    assert.match(await kubectlOk(['logs', 'one', '--since=1h', '--timestamps']), /^\d{4}-\d\d-\d\dT\S+ line 0$/m);
    const follow = spawn('kubectl', ['logs', '-f', '--tail=1', 'one'], { env: instance.env });
    let seen = '';
    follow.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString('utf8')));
    await waitFor(() => seen.split('\n').length > 3, { timeoutMs: 15_000 });
    follow.kill();
    await kubectlOk(['patch', 'ctr', 'one', '--type=merge', '-p', '{"spec":{"restartedAt":"2026-01-01T00:00:00Z"}}']);
    await waitFor(async () => (await kubectl(['logs', 'one', '--previous'])).stdout.includes('line 0'), {
      timeoutMs: 30_000,
    });
  });

  await t.test('exec: output, input, exit code, terminal', async () => {
    assert.equal((await kubectlOk(['exec', 'two', '--', 'echo', 'hello'])).trim(), 'hello');
    assert.equal(await kubectlOk(['exec', '-i', 'two', '--', 'cat'], { input: 'through stdin' }), 'through stdin');
    const failed = await kubectl(['exec', 'two', '--', 'sh', '-c', 'echo oops >&2; exit 7']);
    assert.deepEqual([failed.code, failed.stderr.includes('oops')], [7, true]);
    assert.match(await kubectlOk(['exec', 'two', '--', 'sh', '-c', 'cat /proc/1/comm']), /sleep/);
  });

  await t.test('exec -it gives a terminal', async (t2) => {
    if (!requirePrograms(t2, 'script')) return;
    const { stdout } = await runCommand('script', ['-qec', 'kubectl exec -it two -- tty', '/dev/null'], {
      env: instance.env,
    });
    assert.match(stdout, /\/dev\/pts\/\d+|\/dev\/console/);
  });

  await t.test('events', async () => {
    assert.match(await kubectlOk(['events', '--for', 'ctr/two']), /Started/);
    assert.match(await kubectlOk(['get', 'events', '--sort-by=.lastTimestamp']), /REASON/);
  });

  await t.test('create built-in kinds (protobuf bodies) and ask what one may do', async () => {
    await kubectlOk(['create', 'namespace', 'shop']);
    await kubectlOk(['create', 'configmap', 'settings', '--from-literal=color=blue', '-n', 'shop']);
    await kubectlOk(['create', 'secret', 'generic', 'key', '--from-literal=token=abc', '-n', 'shop']);
    assert.equal(await kubectlOk(['get', 'cm', 'settings', '-n', 'shop', '-o', 'jsonpath={.data.color}']), 'blue');
    assert.equal((await kubectlOk(['auth', 'can-i', 'create', 'ctr'])).trim(), 'yes');
    assert.match(await kubectlOk(['auth', 'whoami']), /admin/);
    await instance.apply(
      `{ apiVersion: v1, kind: ConfigMap, metadata: { name: settings, namespace: shop }, data: { color: red } }`,
    );
    assert.equal(await kubectlOk(['get', 'cm', 'settings', '-n', 'shop', '-o', 'jsonpath={.data.color}']), 'red');
  });

  await t.test('delete by name, label and namespace', async () => {
    await kubectlOk(['delete', 'ctr', 'two', '--timeout=30s']);
    assert.equal((await kubectl(['get', 'ctr', 'two'])).code, 1);
    await kubectlOk(['delete', 'services.windlass.dev,ctr,vol,net', '-l', 'app=shop', '--timeout=60s']);
    assert.equal((await kubectlOk(['get', 'ctr,vol,services.windlass.dev', '-o', 'name'])).trim(), '');
    await kubectlOk(['delete', 'ns', 'shop', '--timeout=60s']);
    assert.equal((await kubectl(['get', 'ns', 'shop'])).code, 1);
  });

  await t.test('a user CRD is served like our own', async () => {
    await instance.apply(CRD);
    await kubectlOk(['wait', '--for=condition=Established', 'crd/widgets.example.com', '--timeout=20s']);
    await waitFor(async () => (await kubectl(['apply', '-f', '-'], { input: asYaml(WIDGET) })).code === 0, {
      timeoutMs: 20_000,
    });
    assert.match(await kubectlOk(['get', 'widgets']), /^NAME +SIZE +AGE\nw +3/);
    const refused = await kubectl(['apply', '-f', '-'], { input: asYaml(WIDGET.replace('size: 3', 'size: 30')) });
    assert.match(
      refused.stderr,
      /spec\.size: Invalid value: 30: spec\.size in body should be less than or equal to 10/,
    );
    await kubectlOk(['delete', 'crd', 'widgets.example.com', '--timeout=30s']);
  });
});

const CRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.example.com }
spec:
  group: example.com
  scope: Namespaced
  names: { plural: widgets, singular: widget, kind: Widget, shortNames: [wi] }
  versions:
    - name: v1
      served: true
      storage: true
      additionalPrinterColumns:
        - { name: Size, type: integer, jsonPath: .spec.size }
        - { name: Age, type: date, jsonPath: .metadata.creationTimestamp }
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: { type: object, properties: { size: { type: integer, maximum: 10, default: 1 } } }
`;
const WIDGET = `{ apiVersion: example.com/v1, kind: Widget, metadata: { name: w }, spec: { size: 3 } }`;

/** kubectl edit with sed as the editor. */
async function runEdit(instance: TestInstance, args: readonly string[], expression: string): Promise<string> {
  const result = await runCommand('kubectl', args, {
    env: { ...instance.env, KUBE_EDITOR: `sed -i -e '${expression}'` },
  });
  if (result.code !== 0) throw new Error(result.stderr);
  return result.stdout;
}
