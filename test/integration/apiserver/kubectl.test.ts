// The real kubectl against the real server: what a user types, and what comes back.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startTestApiserver, type TestApiserver } from '../../support/apiserver.ts';
import { requirePrograms } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const CONTAINER = `apiVersion: windlass.dev/v1
kind: Container
metadata: {name: web, labels: {app: web}}
spec:
  image: busybox
  command: [sleep, "3600"]
`;

describe('kubectl', () => {
  let api: TestApiserver;
  let env: NodeJS.ProcessEnv;
  before(async () => {
    api = await startTestApiserver();
    // kubectl keeps discovery on disk: a fresh HOME keeps tests apart.
    env = { PATH: process.env['PATH'], HOME: api.folder, KUBECONFIG: api.kubeconfig };
    await writeFile(join(api.folder, 'web.yaml'), CONTAINER);
  });
  after(() => api[Symbol.asyncDispose]());

  const kubectl = (...args: string[]): Promise<Outcome> =>
    new Promise((resolve) => {
      execFile('kubectl', args, { env, timeout: 30_000, cwd: api.folder }, (error, out, err) => {
        resolve({ code: error ? Number(error.code ?? 1) : 0, out, err });
      });
    });
  const ok = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await kubectl(...args);
    assert.equal(code, 0, `kubectl ${args.join(' ')}: ${out}${err}`);
    return out;
  };

  it('knows the server and its kinds', async (t) => {
    requirePrograms(t, 'kubectl', 'etcd');
    assert.match(await ok('version'), /Server Version: v1\.32\./);
    const resources = await ok('api-resources');
    for (const row of [
      /^containers\s+ctr\s+windlass\.dev\/v1\s+true\s+Container$/m,
      /^events\s+ev\s+events\.k8s\.io\/v1/m,
    ]) {
      assert.match(resources, row);
    }
    assert.match(await ok('get', 'crd'), /containers\.windlass\.dev/);
    assert.match(await ok('explain', 'container.spec.restartPolicy'), /restartPolicy <string>/);
  });

  it('applies, shows, changes and deletes an object', async () => {
    assert.match(await ok('apply', '-f', 'web.yaml'), /container\.windlass\.dev\/web created/);
    assert.match(await ok('apply', '-f', 'web.yaml'), /unchanged/);
    assert.match(await ok('get', 'ctr'), /^NAME\s+STATUS\s+READY.*\nweb\s/);
    assert.match(
      await ok('get', 'ctr', '-o', 'wide', '-A', '-l', 'app=web', '--sort-by=.metadata.name'),
      /default\s+web/,
    );
    assert.equal(await ok('get', 'ctr', 'web', '-o', 'jsonpath={.spec.image}'), 'busybox');
    assert.equal(await ok('get', 'ctr', '-o', 'name'), 'container.windlass.dev/web\n');
    assert.match(await ok('label', 'ctr', 'web', 'x=y'), /labeled/);
    assert.match(await ok('annotate', 'ctr', 'web', 'x=y'), /annotated/);
    assert.match(await ok('patch', 'ctr', 'web', '--type=merge', '-p', '{"spec":{"tty":true}}'), /patched/);
    const operation = '[{"op":"replace","path":"/spec/tty","value":false}]';
    assert.match(await ok('patch', 'ctr', 'web', '--type=json', '-p', operation), /patched/);
    assert.match(
      (await kubectl('patch', 'ctr', 'web', '-p', '{}')).err,
      /strategic-merge-patch\+json is not supported/,
    );
    assert.match(await ok('describe', 'ctr', 'web'), /Name:\s+web/);
    assert.match(await ok('wait', 'ctr/web', '--for=jsonpath={.spec.image}=busybox', '--timeout=5s'), /condition met/);
    await writeFile(join(api.folder, 'changed.yaml'), CONTAINER.replace('"3600"', '"60"'));
    const diff = await kubectl('diff', '-f', 'changed.yaml');
    assert.equal(diff.code, 1, diff.err);
    assert.match(diff.out, /\+\s+- "60"/);
    assert.match(await ok('apply', '-f', 'changed.yaml'), /configured/);
    assert.match(await ok('replace', '-f', 'changed.yaml'), /replaced/);
    assert.match(await ok('delete', 'ctr', 'web'), /deleted/);
    assert.match(
      (await kubectl('get', 'ctr', 'web')).err,
      /Error from server \(NotFound\): containers\.windlass\.dev "web" not found/,
    );
  });

  it('edits with the editor of the user', async () => {
    await ok('apply', '-f', 'web.yaml');
    env['EDITOR'] = 'sed -i s/busybox/alpine/';
    assert.match(await ok('edit', 'ctr', 'web'), /edited/);
    assert.equal(await ok('get', 'ctr', 'web', '-o', 'jsonpath={.spec.image}'), 'alpine');
    await ok('delete', 'ctr', 'web');
  });

  it('refuses bad fields with their paths', async () => {
    await writeFile(join(api.folder, 'bad.yaml'), `${CONTAINER}  imagee: x\n`);
    assert.match((await kubectl('apply', '-f', 'bad.yaml')).err, /unknown field "spec\.imagee"/);
    await writeFile(join(api.folder, 'port.yaml'), `${CONTAINER}  ports: [{containerPort: 80, hostPort: 70000}]\n`);
    assert.match((await kubectl('apply', '-f', 'port.yaml')).err, /spec\.ports\[0\]\.hostPort: Invalid value: 70000/);
  });

  it('scales a service', async () => {
    const service =
      'apiVersion: windlass.dev/v1\nkind: Service\nmetadata: {name: s}\nspec: {template: {spec: {image: busybox}}}\n';
    await writeFile(join(api.folder, 'service.yaml'), service);
    await ok('create', '-f', 'service.yaml');
    assert.match(await ok('scale', 'service.windlass.dev/s', '--replicas=3'), /scaled/);
    assert.match(await ok('scale', 'service.windlass.dev/s', '--replicas=2', '--current-replicas=3'), /scaled/);
    assert.equal(await ok('get', 'service.windlass.dev', 's', '-o', 'jsonpath={.spec.replicas}'), '2');
  });

  it('makes built-in objects from protobuf bodies', async () => {
    await ok('create', 'ns', 'foo');
    await ok('create', 'configmap', 'cm', '--from-literal=a=b');
    await ok('create', 'secret', 'generic', 'sec', '--from-literal=a=b');
    await ok('create', 'sa', 'robot');
    assert.equal(await ok('get', 'secret', 'sec', '-o', 'jsonpath={.data.a}'), 'Yg==');
    assert.match(await ok('patch', 'cm', 'cm', '-p', '{"data":{"c":"d"}}'), /patched/);
    assert.match(await ok('auth', 'can-i', 'delete', 'ctr'), /yes/);
    assert.match(await ok('auth', 'whoami'), /admin/);
    await ok('create', 'configmap', 'applied', '--from-literal=a=b', '--dry-run=server');
    assert.match((await kubectl('get', 'cm', 'applied')).err, /not found/);
  });

  it('acts as another user with --as, where that is allowed', async () => {
    const asNode = ['--as=system:node:n1', '--as-group=system:nodes'];
    assert.equal((await kubectl('auth', 'can-i', 'delete', 'ctr', '--as=bob')).out, 'no\n');
    assert.equal(await ok('auth', 'can-i', 'list', 'ctr', ...asNode), 'yes\n');
    assert.equal((await kubectl('auth', 'can-i', 'list', 'secrets', ...asNode)).out.split(' ')[0], 'no');
    assert.match(
      (await kubectl('get', 'ctr', '--as=bob')).err,
      /User "bob" cannot list resource "containers" in API group "windlass.dev" in the namespace "default"/,
    );
    await ok('get', 'ctr', ...asNode);
    assert.match((await kubectl('create', 'cm', 'not-mine', ...asNode)).err, /nodes may not create configmaps/);
    const whoami = ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo}'];
    assert.deepEqual(JSON.parse(await ok(...whoami, '--as=bob', '--as-group=a, b', '--as-group=c', '--as-uid=u-1')), {
      username: 'bob',
      uid: 'u-1',
      groups: ['a, b', 'c', 'system:authenticated'],
    });
    assert.deepEqual(JSON.parse(await ok(...whoami, '--as=system:serviceaccount:default:robot')), {
      username: 'system:serviceaccount:default:robot',
      groups: ['system:serviceaccounts', 'system:serviceaccounts:default', 'system:authenticated'],
    });
    const someone = await api.writeKubeconfig('someone', await api.issue('someone', []));
    assert.match(
      (await kubectl('get', 'ctr', '--as=admin', '--as-group=system:masters', '--kubeconfig', someone)).err,
      /users "admin" is forbidden: User "someone" cannot impersonate resource "users" in API group "" at the cluster scope/,
    );
  });

  it('follows changes with -w', async () => {
    const child = spawn('kubectl', ['get', 'cm', '-w'], { env });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    await waitFor(() => out.includes('NAME'), { what: 'the head of the table' });
    await ok('create', 'configmap', 'followed');
    await waitFor(() => /followed\s+0/.test(out), { what: 'the new object' });
    child.kill();
    await once(child, 'exit');
  });

  it('lists in pages and shows events', async () => {
    for (const name of ['p1', 'p2', 'p3']) await ok('create', 'configmap', name);
    assert.match(await ok('get', 'cm', '--chunk-size=1'), /p1[\s\S]*p2[\s\S]*p3/);
    const uid = await ok('get', 'cm', 'p1', '-o', 'jsonpath={.metadata.uid}');
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: 'e.1', namespace: 'default' },
      involvedObject: { apiVersion: 'v1', kind: 'ConfigMap', name: 'p1', namespace: 'default', uid },
      reason: 'Tested',
      message: 'this happened',
      type: 'Normal',
      firstTimestamp: new Date().toISOString(),
      lastTimestamp: new Date().toISOString(),
      count: 2,
      source: { component: 'test' },
    };
    assert.equal((await api.request('POST', '/api/v1/namespaces/default/events', { body: event })).status, 201);
    assert.match(await ok('events', '--for', 'configmap/p1'), /Tested\s+ConfigMap\/p1\s+this happened/);
    assert.match(await ok('describe', 'cm', 'p1'), /Tested.*this happened/);
    assert.match(await ok('get', 'events'), /Tested\s+configmap\/p1\s+this happened/);
  });
});
