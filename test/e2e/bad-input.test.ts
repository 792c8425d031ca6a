// Every bad input gets an answer that names what is wrong, and disturbs nothing else.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import { freePorts } from '../../cli/ports.ts';
import { importBusybox } from '../support/busybox.ts';
import { applyContainer, deleteContainers, readyOf, runToEnd, waitForStatus } from '../support/containers.ts';
import { asYaml, startInstance } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const container = (spec: string): string =>
  `{ apiVersion: windlass.dev/v1, kind: Container, metadata: { name: bad }, spec: ${spec} }`;

/** What is refused at write time: the manifest and what the message must say. */
const REFUSED: readonly (readonly [string, string, RegExp])[] = [
  ['an unknown field', container('{ image: busybox, comand: [sh] }'), /unknown field "spec\.comand"/],
  [
    'a wrong type',
    container('{ image: busybox, command: sh }'),
    /spec\.command: Invalid value: "string": spec\.command in body must be of type array/,
  ],
  [
    'a port out of range',
    container('{ image: busybox, ports: [{ containerPort: 80 }, { containerPort: 81, hostPort: 70000 }] }'),
    /spec\.ports\[1\]\.hostPort: Invalid value: 70000: spec\.ports\[1\]\.hostPort in body should be less than or equal to 65535/,
  ],
  [
    'a host port twice',
    container(
      '{ image: busybox, ports: [{ containerPort: 80, hostPort: 8080 }, { containerPort: 81, hostPort: 8080 }] }',
    ),
    /spec\.ports/,
  ],
  [
    'both image and imageName',
    container('{ image: busybox, imageName: busybox }'),
    /exactly one of image and imageName/,
  ],
  ['neither image nor imageName', container('{ command: [sh] }'), /exactly one of image and imageName/],
  ['a malformed reference', container('{ image: "UPPER/case:tag:tag" }'), /spec\.image/],
  [
    'a value that is not in the list',
    container('{ image: busybox, restartPolicy: Sometimes }'),
    /Unsupported value: "Sometimes": supported values: /,
  ],
  [
    'a bad quantity',
    container('{ image: busybox, resources: { limits: { memory: lots } } }'),
    /spec\.resources\.limits\.memory/,
  ],
  [
    'a bad name',
    '{ apiVersion: windlass.dev/v1, kind: Volume, metadata: { name: Not_A_Name }, spec: {} }',
    /metadata\.name: Invalid value: "Not_A_Name".*RFC 1123/,
  ],
  [
    'a namespace that does not exist',
    '{ apiVersion: windlass.dev/v1, kind: Volume, metadata: { name: v, namespace: nowhere }, spec: {} }',
    /namespaces "nowhere" not found/,
  ],
  [
    'replicas below zero',
    '{ apiVersion: windlass.dev/v1, kind: Service, metadata: { name: s }, spec: { replicas: -1, template: { spec: { image: busybox } } } }',
    /spec\.replicas/,
  ],
];

test('bad input', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const instance = await startInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  const { kubectl, kubectlOk } = instance;
  await importBusybox(instance);
  const ready = (name: string, reason: RegExp, message: RegExp) =>
    waitForStatus(
      instance,
      name,
      (status) => reason.test(readyOf(status)?.reason ?? '') && message.test(readyOf(status)?.message ?? ''),
    );

  for (const [what, manifest, message] of REFUSED) {
    await t.test(`${what} is refused`, async () => {
      const result = await kubectl(['apply', '-f', '-'], { input: asYaml(manifest) });
      assert.equal(result.code, 1, result.stdout);
      assert.match(result.stderr, message);
    });
  }

  await t.test('an unknown network and volume are conditions that clear when they appear', async () => {
    await applyContainer(instance, 'early', {
      command: ['sleep', '1000000'],
      networks: [{ name: 'later' }],
      mounts: [{ mountPath: '/d', volume: 'later' }],
    });
    await ready('early', /./, /later/);
    await instance.apply('{ apiVersion: windlass.dev/v1, kind: Network, metadata: { name: later }, spec: {} }');
    await instance.apply('{ apiVersion: windlass.dev/v1, kind: Volume, metadata: { name: later }, spec: {} }');
    await waitForStatus(instance, 'early', (status) => readyOf(status)?.status === 'True');
  });

  await t.test('a volume in use is not deleted, and says by whom', async () => {
    await kubectlOk(['delete', 'vol', 'later', '--wait=false']);
    await waitFor(
      async () =>
        /early/.test(await kubectlOk(['get', 'vol', 'later', '-o', 'jsonpath={.status.conditions} {.status.inUseBy}'])),
      { what: 'the holder of the volume' },
    );
    await deleteContainers(instance, 'early');
    await kubectlOk(['wait', '--for=delete', 'vol/later', '--timeout=30s']);
  });

  await t.test('a registry that is down, answers garbage, or lacks the image is named', async () => {
    const [closed] = await freePorts(1);
    await applyContainer(instance, 'down', { image: `127.0.0.1:${closed}/nothing:1` });
    await ready('down', /Image|Pull/, new RegExp(`127\\.0\\.0\\.1:${closed}`));
    const server = createServer((request, response) => {
      if (request.url?.includes('/missing/'))
        response.writeHead(404).end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
      else
        response
          .writeHead(200, { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' })
          .end('this is not JSON');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    const { port } = server.address() as AddressInfo;
    await applyContainer(instance, 'garbage', { image: `127.0.0.1:${port}/garbage:1` });
    await ready('garbage', /Image|Pull/, /manifest|JSON/i);
    await applyContainer(instance, 'missing', { image: `127.0.0.1:${port}/missing/image:1` });
    await ready('missing', /Image|Pull/, /manifest unknown|not found/i);
    await deleteContainers(instance, 'down', 'garbage', 'missing');
  });

  await t.test('a port taken by a host process names the holder', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
    t.after(() => server.close());
    const { port } = server.address() as AddressInfo;
    await applyContainer(instance, 'port', {
      command: ['sleep', '1000'],
      ports: [{ containerPort: 80, hostPort: port }],
    });
    await ready('port', /PortConflict/, new RegExp(`${port}[\\s\\S]*process ${process.pid}`));
    await deleteContainers(instance, 'port');
  });

  await t.test('a port taken by another container names it', async () => {
    await applyContainer(instance, 'holder', {
      command: ['sleep', '1000000'],
      ports: [{ containerPort: 80, hostPort: 18_451 }],
    });
    await waitForStatus(instance, 'holder', (status) => readyOf(status)?.status === 'True');
    await applyContainer(instance, 'second', {
      command: ['sleep', '1000'],
      ports: [{ containerPort: 80, hostPort: 18_451 }],
    });
    await ready('second', /PortConflict/, /18451[\s\S]*holder/);
    await deleteContainers(instance, 'holder');
    await waitForStatus(instance, 'second', (status) => readyOf(status)?.status === 'True', 40_000);
    await deleteContainers(instance, 'second');
  });

  await t.test('a program that is not in the image says so', async () => {
    await applyContainer(instance, 'no-program', { command: ['/no/such/program'], restartPolicy: 'Never' });
    await waitForStatus(instance, 'no-program', (status) =>
      /no such file|not found/i.test(readyOf(status)?.message ?? ''),
    );
    await deleteContainers(instance, 'no-program');
  });

  await t.test('a manifest of 4 MB is refused whole', async () => {
    const big = `{ apiVersion: v1, kind: ConfigMap, metadata: { name: big }, data: { x: "${'x'.repeat(4 * 2 ** 20)}" } }`;
    const result = await kubectl(['create', '-f', '-'], { input: asYaml(big) });
    assert.equal(result.code, 1);
    assert.match(result.stderr, /too large|limit/i);
  });

  await t.test('1,000 objects in one apply, none of which can run, hold nobody up', async () => {
    const waiting = (index: number): object => ({
      apiVersion: 'windlass.dev/v1',
      kind: 'Container',
      metadata: { name: `many-${index}`, labels: { many: 'yes' } },
      // Half of them wait on the node for an Image, half for a node.
      spec: { imageName: 'never', ...(index % 2 === 0 ? {} : { nodeSelector: { never: 'yes' } }) },
    });
    const items = Array.from({ length: 1000 }, (_, index) => waiting(index));
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
    let isApplied = false;
    const applying = kubectlOk(['apply', '-f', '-'], { input: list, timeoutMs: 300_000 }).finally(() => {
      isApplied = true;
    });
    let slowestMs = 0;
    await waitFor(
      async () => {
        const start = performance.now();
        await kubectlOk(['get', 'ns', 'default']);
        slowestMs = Math.max(slowestMs, performance.now() - start);
        return isApplied;
      },
      { timeoutMs: 300_000, intervalMs: 1_000 },
    );
    await applying;
    assert.ok(slowestMs < 5_000, `a get took ${slowestMs} ms meanwhile`);
    const reasons = async (): Promise<Record<string, number>> => {
      const path = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].reason}';
      const words = (await kubectlOk(['get', 'ctr', '-l', 'many=yes', '-o', path])).split(' ');
      return Object.fromEntries(
        Object.entries(Object.groupBy(words, (word) => word)).map(([word, all]) => [word, all?.length ?? 0]),
      );
    };
    await waitFor(
      async () => {
        const { ImageNotFound, Unschedulable } = await reasons();
        return ImageNotFound === 500 && Unschedulable === 500;
      },
      { timeoutMs: 60_000, intervalMs: 1_000, what: 'a reason on each' },
    );
    const { output } = await runToEnd(instance, 'between', { command: ['echo', 'not held up'] });
    assert.equal(output, 'not held up\n');
    await kubectlOk(['delete', 'ctr', '-l', 'many=yes', '--wait=false'], { timeoutMs: 300_000 });
    await waitFor(async () => (await kubectlOk(['get', 'ctr', '-l', 'many=yes', '-o', 'name'])) === '', {
      timeoutMs: 60_000,
      intervalMs: 1_000,
    });
  });
});
