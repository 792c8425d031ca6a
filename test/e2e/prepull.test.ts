// Images on three hosts before anybody asks for them: imported on one, pulled, and built from an archive that another has.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { canBuild } from '../support/can-build.ts';
import { BUSYBOX, startCluster, type Cluster } from '../support/cluster.ts';
import { busyboxFiles, makeImage, writeOciLayout } from '../support/images.ts';
import { waitFor } from '../support/wait.ts';

const isRoot = process.getuid?.() === 0;
const SOON = { timeoutMs: 120_000, intervalMs: 200 };

describe('prepull on three nodes', { skip: isRoot ? false : 'needs root' }, () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await startCluster();
  });
  after(async () => cluster?.[Symbol.asyncDispose]());

  const apply = (name: string, spec: object): Promise<string> =>
    cluster.put(JSON.stringify({ apiVersion: 'windlass.dev/v1', kind: 'Image', metadata: { name }, spec }));
  const field = (name: string, path: string): Promise<string> =>
    cluster.kubectlOk(['get', 'img', name, '-o', `jsonpath={${path}}`]);
  const reach = async (name: string, message: RegExp): Promise<void> => {
    let last = '';
    await waitFor(
      async () => message.test((last = await field(name, '.status.conditions[?(@.type=="Prepulled")].message'))),
      { ...SOON, what: `${name}: ${message}` },
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${last}`, { cause: error });
    });
  };

  it('an image that was imported on one node comes to all, then to those with a label, and leaves all of them', async () => {
    const path = join(cluster.root, 'layout');
    mkdirSync(path);
    writeOciLayout(path, makeImage({ layers: [busyboxFiles()], config: { Cmd: ['sleep', '1000'] } }));
    await apply('imported', { import: { hostPath: path, nodeName: 'node-1' }, tags: ['shop/tools:1'], prepull: {} });
    await reach('imported', /^3 of 3 nodes$/);
    assert.equal(await field('imported', '.status.nodes'), '["node-1","node-2","node-3"]');
    // Without a registry, and without a node to ask: it is there.
    const metadata = { name: 'tools' };
    const spec = {
      image: 'shop/tools:1',
      imagePullPolicy: 'Never',
      nodeName: 'node-3',
      terminationGracePeriodSeconds: 0,
    };
    await cluster.put(JSON.stringify({ apiVersion: 'windlass.dev/v1', kind: 'Container', metadata, spec }));
    await cluster.kubectlOk(['wait', '--for=condition=Ready', 'ctr/tools', '--timeout=60s'], { timeoutMs: 70_000 });
    await cluster.kubectlOk(['delete', 'ctr', 'tools', '--timeout=60s'], { timeoutMs: 70_000 });
    await cluster.kubectlOk(['delete', 'img', 'imported', '--timeout=60s'], { timeoutMs: 70_000 });
  });

  it('one that some cannot get says who and why', async () => {
    const spec = { reference: '127.0.0.1:1/nobody/has:it', prepull: {} };
    await apply('nowhere', spec);
    await reach('nowhere', /^0 of 3 nodes; not yet: node-1, node-2, node-3$/);
    await cluster.kubectlOk(['delete', 'img', 'nowhere', '--timeout=60s'], { timeoutMs: 70_000 });
  });

  it('one is built on a node that has not got its archive, and comes to the others', async (t) => {
    if (!(await canBuild(cluster))) return t.skip('the runtime does not build images');
    const context = join(cluster.root, 'context');
    mkdirSync(context);
    writeFileSync(join(context, 'Dockerfile'), `FROM ${BUSYBOX}\nRUN echo built > /built\nCMD ["cat", "/built"]\n`);
    const tar = join(cluster.root, 'context.tar');
    execFileSync('tar', ['-C', context, '-cf', tar, '.']);
    const archives = '/apis/windlass.dev/v1/namespaces/default/archives';
    const sent = await cluster.kubectlOk(['create', '--raw', `${archives}?nodeName=node-2`, '-f', tar]);
    const { digest, nodes } = JSON.parse(sent) as { digest: string; nodes: string[] };
    assert.deepEqual(nodes, ['node-2']);
    // Where the bytes are nobody may build: another node has to fetch them.
    await cluster.kubectlOk(['cordon', 'node-2']);
    await apply('built', {
      build: { context: { archive: digest }, network: 'none' },
      tags: ['shop/built:1'],
      prepull: {},
    });
    await reach('built', /^3 of 3 nodes$/);
    assert.notEqual(await field('built', '.metadata.annotations.windlass\\.dev/pull-node'), 'node-2');
    await cluster.kubectlOk(['uncordon', 'node-2']);
    await cluster.kubectlOk(['delete', 'img', 'built', '--timeout=60s'], { timeoutMs: 70_000 });
  });
});
