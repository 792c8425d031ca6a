// Two instances on one machine: each has its own network, ports, store and containers, and the end of one is not felt
// by the other.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';
import { freePorts } from '../../cli/ports.ts';
import { describeInstance, kernelNames } from '../../lib/instance.ts';
import { importBusybox } from '../support/busybox.ts';
import { startInstance, type TestInstance } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const web = (text: string, port: number): string => `
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: web }
spec:
  imageName: busybox
  command: [sh, -c, "mkdir /www; echo ${text} > /www/index.html; exec httpd -f -p 80 -h /www"]
  ports: [{ containerPort: 80, hostPort: ${port} }]`;

async function answer(port: number): Promise<string> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(2_000) });
    return (await response.text()).trim();
  } catch {
    return '';
  }
}

const identityOf = (instance: TestInstance): Promise<string> =>
  instance.kubectlOk([
    ...['get', 'ctr', 'web', '-o'],
    'jsonpath={.status.containerID} {.status.startedAt} {.status.restartCount} {.status.networks[0].ipv4Address}',
  ]);
const subnetOf = (instance: TestInstance): Promise<string> =>
  instance.kubectlOk(['get', 'net', 'default', '-o', 'jsonpath={.status.subnets[0].cidr}']);

const hasTable = ({ home, run }: TestInstance): boolean =>
  execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' }).includes(
    kernelNames.nftTable(describeInstance(home, run)),
  );

test('two instances side by side', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const [one, two] = await Promise.all([startInstance(), startInstance()]);
  let isOneThere = true;
  t.after(async () => {
    await two[Symbol.asyncDispose]();
    if (isOneThere) await one[Symbol.asyncDispose]();
  });
  const [portOne = 0, portTwo = 0] = await freePorts(2);
  await Promise.all([importBusybox(one), importBusybox(two)]);
  await Promise.all([one.apply(web('one', portOne)), two.apply(web('two', portTwo))]);
  await Promise.all(
    [one, two].map((instance) => instance.kubectlOk(['wait', '--for=condition=Ready', 'ctr/web', '--timeout=60s'])),
  );

  await t.test('objects of the same name have networks, addresses and answers of their own', async () => {
    await waitFor(async () => (await answer(portOne)) === 'one', { what: 'the answer of the first' });
    await waitFor(async () => (await answer(portTwo)) === 'two', { what: 'the answer of the second' });
    assert.notEqual(await subnetOf(one), await subnetOf(two));
  });

  await t.test('a port that the other one published is taken, and its holder is named', async () => {
    await two.apply(
      `{ apiVersion: windlass.dev/v1, kind: Container, metadata: { name: late }, spec: { imageName: busybox, command: [sleep, "1000"], terminationGracePeriodSeconds: 1, ports: [{ containerPort: 80, hostPort: ${portOne} }] } }`,
    );
    const ready = await waitFor(
      () => two.kubectlOk(['get', 'ctr', 'late', '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].message}']),
      { what: 'the condition' },
    );
    assert.match(ready, new RegExp(String(portOne)));
    assert.equal(await answer(portOne), 'one');
    await two.kubectlOk(['delete', 'ctr', 'late', '--timeout=30s']);
  });

  await t.test('down --purge of one leaves the other as it is', async () => {
    const before = await identityOf(two);
    assert.deepEqual([hasTable(one), hasTable(two)], [true, true]);
    await one[Symbol.asyncDispose]();
    isOneThere = false;
    assert.equal(await answer(portOne), '');
    assert.equal(await answer(portTwo), 'two');
    assert.equal(await identityOf(two), before);
    assert.deepEqual([hasTable(one), hasTable(two)], [false, true]);
    await two.apply(
      `{ apiVersion: windlass.dev/v1, kind: Container, metadata: { name: more }, spec: { imageName: busybox, command: [sleep, "1000"], terminationGracePeriodSeconds: 1 } }`,
    );
    await two.kubectlOk(['wait', '--for=condition=Ready', 'ctr/more', '--timeout=30s']);
  });
});
