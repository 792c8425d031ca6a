// Images over three hosts: one imports or can reach the registry, the others get what it has.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createCriClient } from '../../cri/client.ts';
import { paths } from '../../lib/instance.ts';
import { startCluster, type Cluster, type ClusterNode } from '../support/cluster.ts';
import { supervise, type Supervised } from '../support/cluster/supervised.ts';
import { busyboxFiles, makeImage, writeOciLayout } from '../support/images.ts';
import { waitFor } from '../support/wait.ts';

const REGISTRY = fileURLToPath(new URL('../../registry/main.ts', import.meta.url));
const isRoot = process.getuid?.() === 0;
const SOON = { timeoutMs: 120_000, intervalMs: 200 };

describe('images on three nodes', { skip: isRoot ? false : 'needs root' }, () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await startCluster();
  });
  after(async () => cluster?.[Symbol.asyncDispose]());

  const container = (name: string, node: string, image: string, policy = 'IfNotPresent'): string => `
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: ${name} }
spec: { ${image}, imagePullPolicy: ${policy}, nodeName: ${node}, command: [sleep, '1000'], terminationGracePeriodSeconds: 0 }
`;
  const ready = (...names: string[]): Promise<string> =>
    cluster.kubectlOk(['wait', '--for=condition=Ready', ...names, '--timeout=90s'], { timeoutMs: 100_000 });
  /** Bytes of images that a node received from `source`. */
  const received = async (node: ClusterNode, source: string): Promise<number> => {
    const name = `windlass_shim_image_received_bytes_total{source="${source}"}`;
    const leases = await cluster.kubectlOk([
      ...[
        'get',
        'lease',
        '-n',
        'windlass-system',
        `runtime-shim-${node.name}`,
        '-o',
        'jsonpath={.metadata.annotations}',
      ],
    ]);
    const [address] = /\d+\.\d+\.\d+\.\d+:\d+/.exec(leases) ?? [];
    const text = (await node.curl(`http://${address}/metrics`)) ?? '';
    return Number(
      text
        .split('\n')
        .find((line) => line.startsWith(name))
        ?.split(' ')[1],
    );
  };
  /** On the disk of the machine, which the hosts share: the Image names the node that reads it. busybox they have. */
  const makeLayout = (name: string): { path: string; dataBytes: number } => {
    const path = join(cluster.root, name);
    mkdirSync(path);
    const image = makeImage({
      layers: [busyboxFiles(), [{ name: 'data', content: randomBytes(8_000_000) }]],
      config: { Env: ['PATH=/bin'] },
    });
    writeOciLayout(path, image);
    return { path, dataBytes: image.layers[1]?.size ?? 0 };
  };

  it('of a registry that only one node reaches, the others get what that one pulled; and when it is gone', async () => {
    const [first, second] = cluster.nodes as [ClusterNode, ClusterNode];
    const { path } = makeLayout('pushed');
    const registry: Supervised = supervise({
      ...{ name: 'registry', file: process.execPath, env: process.env, within: first.machine.within },
      args: [REGISTRY, '--root', join(cluster.root, 'registry'), '--listen', '127.0.0.1:5099'],
      logFile: join(cluster.root, 'registry.log'),
      mayRun: first.machine.isOn,
    });
    registry.start();
    try {
      const reference = '127.0.0.1:5099/shop/db:1';
      const push = ['skopeo', 'copy', '--dest-tls-verify=false', `oci:${path}`, `docker://${reference}`];
      await waitFor(async () => (await first.machine.run(push)).code === 0, { ...SOON, what: 'a push' });
      await cluster.put(`
apiVersion: windlass.dev/v1
kind: Image
metadata: { name: db }
spec: { reference: '${reference}' }`);
      await ready('img/db');
      const node = await cluster.kubectlOk(['get', 'img', 'db', '-o', 'jsonpath={.status.nodes[0]}']);
      assert.equal(node, 'node-1');
      await cluster.put(container('beside', 'node-2', `image: '${reference}'`));
      await ready('ctr/beside');
      assert.equal(await received(second, 'registry'), 0);
      // Whoever must ask the registry what the name means now says that it cannot.
      await cluster.put(container('strict', 'node-2', `image: '${reference}'`, 'Always'));
      const why = (): Promise<string> =>
        cluster.kubectlOk(['get', 'ctr', 'strict', '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].message}']);
      await waitFor(async () => /127\.0\.0\.1:5099 cannot be reached/.test(await why()), {
        ...SOON,
        what: 'the reason',
      });
      await registry.kill();
      await cluster.put(container('after', 'node-3', `image: '${reference}'`));
      await ready('ctr/after');
    } finally {
      await registry.kill();
    }
  });

  it('an image that one node imported starts on every node', async () => {
    const [, second, third] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    const { path, dataBytes } = makeLayout('imported');
    await cluster.put(`
apiVersion: windlass.dev/v1
kind: Image
metadata: { name: imported }
spec: { import: { hostPath: ${path}, nodeName: node-1 }, tags: ['shop.test/web:1'] }
---${container('by-name', 'node-2', 'imageName: imported')}
---${container('by-tag', 'node-3', 'image: shop.test/web:1')}`);
    await ready('ctr/by-name', 'ctr/by-tag');
    for (const node of [second, third]) {
      assert.ok((await received(node, 'peer')) >= dataBytes, node.name);
      assert.equal(await received(node, 'registry'), 0);
    }
  });

  it('a node whose blob is damaged, or that dies in the middle, costs no more than the way to the next', async () => {
    const [first, , third] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    const { path } = makeLayout('fragile');
    await cluster.put(`
apiVersion: windlass.dev/v1
kind: Image
metadata: { name: fragile }
spec: { import: { hostPath: ${path}, nodeName: node-1 } }
---${container('copy', 'node-2', 'imageName: fragile')}`);
    await ready('ctr/copy');
    // The largest layer of it, on the node that the Image names: other bytes of the same length.
    const blobs = join(paths.content(first.instance), 'blobs/sha256');
    const digest = await cluster.kubectlOk(['get', 'img', 'fragile', '-o', 'jsonpath={.status.layers[1].digest}']);
    const blob = join(blobs, digest.replace('sha256:', ''));
    const { size } = statSync(blob);
    truncateSync(blob, 0);
    writeFileSync(blob, Buffer.alloc(size, 1));
    await cluster.put(container('third', 'node-3', 'imageName: fragile'));
    await ready('ctr/third');
    // The node that made it is dead, and what it had is still to be had: from the one that got it.
    await first.powerOff();
    await cluster.kubectlOk(['delete', 'ctr', 'third', 'after', 'by-tag', '--timeout=60s'], { timeoutMs: 70_000 });
    const image = await cluster.kubectlOk(['get', 'img', 'fragile', '-o', 'jsonpath={.status.digest}']);
    using cri = createCriClient({ socketPath: third.machine.pathOf(paths.criSocket(third.instance)) });
    await cri.images.removeImage({ image: { image } });
    await cluster.put(container('fourth', 'node-3', 'imageName: fragile'));
    await ready('ctr/fourth');
  });
});
