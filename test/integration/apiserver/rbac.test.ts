// Roles and bindings, by the real kubectl against the real server: who is given something may do it, and nothing else.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
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

const CONTAINER = 'apiVersion: windlass.dev/v1\nkind: Container\nmetadata: {name: web}\nspec: {image: busybox}\n';

describe('roles', () => {
  let api: TestApiserver;
  before(async () => {
    api = await startTestApiserver();
    await writeFile(join(api.folder, 'web.yaml'), CONTAINER);
  });
  after(() => api[Symbol.asyncDispose]());

  const kubectl = (...args: string[]): Promise<Outcome> =>
    new Promise((resolve) => {
      const env = { PATH: process.env['PATH'], HOME: api.folder, KUBECONFIG: api.kubeconfig };
      execFile('kubectl', args, { env, timeout: 30_000, cwd: api.folder }, (error, out, err) => {
        resolve({ code: error ? Number(error.code ?? 1) : 0, out, err });
      });
    });
  const ok = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await kubectl(...args);
    assert.equal(code, 0, `kubectl ${args.join(' ')}: ${out}${err}`);
    return out;
  };
  const refused = async (...args: string[]): Promise<string> => {
    const { code, err } = await kubectl(...args);
    assert.equal(code, 1, `kubectl ${args.join(' ')}`);
    return err;
  };
  const can = async (user: string, ...what: string[]): Promise<boolean> =>
    (await kubectl('auth', 'can-i', ...what, '--as', user)).out.startsWith('yes');

  it('are there from the start, each part of the next', async (t) => {
    requirePrograms(t, 'kubectl', 'etcd');
    await waitFor(
      async () => (await kubectl('get', 'clusterrole', 'admin', '-o', 'yaml')).out.includes('rolebindings'),
      {
        what: 'the rules of admin',
      },
    );
    const names = await ok('get', 'clusterroles', '-o', 'name');
    for (const name of ['cluster-admin', 'admin', 'edit', 'view']) assert.match(names, new RegExp(`/${name}\n`));
    assert.match(await ok('get', 'clusterrolebindings'), /^cluster-admin\s+ClusterRole\/cluster-admin/m);
  });

  it('let their users do what they say, where they say it', async (t) => {
    requirePrograms(t, 'kubectl', 'etcd');
    await ok('create', 'namespace', 'shop');
    assert.match(
      await refused('get', 'ctr', '-n', 'shop', '--as', 'bob'),
      /User "bob" cannot list resource "containers"/,
    );
    await ok('create', 'rolebinding', 'bobs', '--clusterrole=edit', '--user=bob', '-n', 'shop');
    await waitFor(() => can('bob', 'create', 'containers.windlass.dev', '-n', 'shop'), { what: 'the right of bob' });
    await ok('apply', '-f', 'web.yaml', '-n', 'shop', '--as', 'bob');
    assert.match(await ok('get', 'ctr', '-n', 'shop', '--as', 'bob'), /^web\s/m);
    assert.match(await refused('apply', '-f', 'web.yaml', '--as', 'bob'), /in the namespace "default"/);
    assert.match(await refused('get', 'ctr', '-A', '--as', 'bob'), /at the cluster scope/);
    assert.equal(await can('bob', 'update', 'images.windlass.dev', '--subresource=layers', '-n', 'shop'), true);
    assert.equal(await can('bob', 'create', 'rolebindings', '-n', 'shop'), false);
    assert.match(await ok('auth', 'can-i', '--list', '-n', 'shop', '--as', 'bob'), /images\.windlass\.dev\/layers/);
    await ok('delete', 'rolebinding', 'bobs', '-n', 'shop');
    await waitFor(async () => !(await can('bob', 'get', 'containers.windlass.dev', '-n', 'shop')), {
      what: 'the end of the right of bob',
    });
  });

  it('bind groups and service accounts, names and paths', async (t) => {
    requirePrograms(t, 'kubectl', 'etcd');
    await ok('create', 'role', 'one', '--verb=get', '--resource=configmaps', '--resource-name=a');
    await ok('create', 'rolebinding', 'one', '--role=one', '--serviceaccount=default:robot', '--group=crew');
    await ok('create', 'clusterrole', 'scraper', '--verb=get', '--non-resource-url=/metrics');
    await ok('create', 'clusterrolebinding', 'scraper', '--clusterrole=scraper', '--user=prometheus');
    const robot = 'system:serviceaccount:default:robot';
    await waitFor(() => can(robot, 'get', 'configmaps/a'), { what: 'the right of the robot' });
    assert.equal(await can(robot, 'get', 'configmaps/b'), false);
    assert.match((await kubectl('auth', 'can-i', 'get', 'cm/a', '--as', 'x', '--as-group', 'crew')).out, /^yes/);
    await waitFor(() => can('prometheus', 'get', '/metrics'), { what: 'the right to scrape' });
    assert.ok((await ok('get', '--raw', '/metrics', '--as', 'prometheus')).includes('apiserver_request_total'));
    assert.match(await refused('get', '--raw', '/metrics', '--as', 'bob'), /cannot get path "\/metrics"/);
  });

  it('are handed on by who has them, and by nobody else', async (t) => {
    requirePrograms(t, 'kubectl', 'etcd');
    await ok('create', 'namespace', 'lab');
    await ok('create', 'rolebinding', 'anns', '--clusterrole=admin', '--user=ann', '-n', 'lab');
    await waitFor(() => can('ann', 'create', 'rolebindings', '-n', 'lab'), { what: 'the right of ann' });
    await ok('create', 'rolebinding', 'views', '--clusterrole=view', '--user=bob', '-n', 'lab', '--as', 'ann');
    const grab = [
      'create',
      'rolebinding',
      'all',
      '--clusterrole=cluster-admin',
      '--user=ann',
      '-n',
      'lab',
      '--as',
      'ann',
    ];
    assert.match(
      await refused(...grab),
      /attempting to grant RBAC permissions not currently held:\n\{APIGroups:\["\*"\]/,
    );
    const role = [
      'create',
      'role',
      'x',
      '--verb=get',
      '--resource=leases.coordination.k8s.io',
      '-n',
      'lab',
      '--as',
      'ann',
    ];
    assert.match(await refused(...role), /"leases"/);
    await ok('create', 'role', 'y', '--verb=get', '--resource=secrets', '-n', 'lab', '--as', 'ann');
    const unknown = ['create', 'rolebinding', 'z', '--role=none', '--user=bob', '-n', 'lab', '--as', 'ann'];
    assert.match(await refused(...unknown), /"none" not found/);
  });

  it('are put together from those that a selector fits', async (t) => {
    requirePrograms(t, 'kubectl', 'etcd');
    await ok('create', 'clusterrole', 'part', '--verb=get', '--resource=nodes');
    await ok('create', 'clusterrole', 'whole', '--aggregation-rule=part-of=whole');
    await ok('label', 'clusterrole', 'part', 'part-of=whole');
    await waitFor(async () => (await ok('get', 'clusterrole', 'whole', '-o', 'yaml')).includes('nodes'), {
      what: 'the rule of the part',
    });
    await ok('delete', 'clusterrole', 'part');
    await waitFor(async () => !(await ok('get', 'clusterrole', 'whole', '-o', 'yaml')).includes('nodes'), {
      what: 'the rules without the part',
    });
  });

  it('are refused with the field that is wrong', async (t) => {
    requirePrograms(t, 'kubectl', 'etcd');
    const apply = async (text: string): Promise<string> => {
      await writeFile(join(api.folder, 'bad.yaml'), text);
      return refused('apply', '-f', 'bad.yaml');
    };
    const head = (kind: string): string =>
      `apiVersion: rbac.authorization.k8s.io/v1\nkind: ${kind}\nmetadata: {name: bad, namespace: default}\n`;
    assert.match(await apply(`${head('Role')}rules: [{verbs: []}]`), /rules\[0\]\.verbs: Required value/);
    assert.match(
      await apply(`${head('Role')}rules: [{verbs: [get], nonResourceURLs: [/metrics]}]`),
      /namespaced rules cannot apply to non-resource URLs/,
    );
    const ref = 'roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: one}\n';
    assert.match(
      await apply(`${head('RoleBinding')}${ref}subjects: [{kind: Robot, name: x}]`),
      /subjects\[0\]\.kind: Unsupported value: "Robot"/,
    );
    assert.match(
      await apply(`${head('RoleBinding')}${ref}subjects: [{kind: ServiceAccount, name: x}]`),
      /subjects\[0\]\.namespace: Required value/,
    );
    const change = `[{"op":"replace","path":"/roleRef/name","value":"two"}]`;
    assert.match(await refused('patch', 'rolebinding', 'one', '--type=json', '-p', change), /cannot change roleRef/);
  });
});
