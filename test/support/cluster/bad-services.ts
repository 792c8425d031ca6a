// Steps of test/e2e/swarm.test.ts: what cannot be meant gets a refusal or a condition that names the field or the holder,
// and disturbs nothing else. Each leaves things as it found them.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { describeInstance } from '../../../lib/instance.ts';
import { join } from 'node:path';
import { waitFor } from '../wait.ts';
import type { BareHost, BareHosts } from './bare-hosts.ts';
import { createByKubectl, serviceOf, SOON } from './by-kubectl.ts';

const APPLY = ['apply', '--validate=false', '-f', '-'] as const;

/** `join` are the words by which a host joined: `node --server ...`. `bystander` is a Service that must not notice. */
export async function badServiceSteps(
  t: TestContext,
  swarm: BareHosts,
  { joinWords, bystander }: { joinWords: readonly string[]; bystander: string },
): Promise<void> {
  const [, second, third] = swarm.hosts as [BareHost, BareHost, BareHost];
  const kube = createByKubectl(swarm);
  const { ask, put, refused, says, conditionOf } = kube;
  const runs = async (): Promise<string[]> =>
    (await kube.replicasOf(bystander))
      .map(({ metadata, status }) => `${metadata.uid} ${status?.containerID}`)
      .toSorted();
  const before = await runs();
  const network = (name: string, cidr: string): object => ({
    ...{ apiVersion: 'windlass.dev/v1', kind: 'Network', metadata: { name }, spec: { subnets: [{ cidr }] } },
  });

  await t.test('bad input: replicas of -1 and 100,000', async () => {
    for (const replicas of [-1, 100_000]) {
      const bound = replicas < 0 ? /greater than or equal to 0/ : /less than or equal to 50000/;
      const said = await refused(APPLY, serviceOf('many', { replicas }));
      assert.match(said, new RegExp(`spec\\.replicas: Invalid value: ${replicas}: `));
      assert.match(said, bound);
      assert.match(
        await refused(['scale', `services.windlass.dev/${bystander}`, `--replicas=${replicas}`]),
        /replicas|--replicas=COUNT/,
      );
    }
    const job = { mode: 'Job', job: { completions: 1_000_000 } };
    assert.match(
      await refused(APPLY, serviceOf('many', { more: job })),
      /spec\.job\.completions: .*less than or equal to 50000/,
    );
  });

  await t.test('bad input: a constraint that is none, and one that no node satisfies', async () => {
    for (const constraint of ['node.labels.zone = east', 'zone == east', 'node.role', 'node.role === manager'])
      assert.match(
        await refused(APPLY, serviceOf('picky', { template: { placement: { constraints: [constraint] } } })),
        /spec\.template\.spec\.placement\.constraints\[0\]: .*must be a condition on the node, e\.g\. node\.labels\.zone == east/,
        constraint,
      );
    await put(serviceOf('picky', { template: { placement: { constraints: ['node.labels.zone == moon'] } } }));
    await says('svc/picky', /3 node\(s\) did not satisfy the constraint node\.labels\.zone == moon/);
    await ask('label', 'node', 'node-2', 'zone=moon');
    await kube.waitReady('svc/picky');
    await ask('label', 'node', 'node-2', 'zone-');
    await ask('delete', 'svc', 'picky');
  });

  await t.test('bad input: a cron expression that is none, and one that never comes', async () => {
    const scheduled = (cron: string, more: object = {}): { spec: object } =>
      serviceOf('timer', { more: { mode: 'Job', schedule: { cron, ...more } } });
    for (const cron of ['61 * * * *', '* * *', 'every now and then', '* * * * * *'])
      assert.match(await refused(APPLY, scheduled(cron)), /spec\.schedule\.cron: .*must be minute \(0-59\)/, cron);
    await put(scheduled('0 0 31 2 *'));
    await says('svc/timer', /^InvalidSchedule spec\.schedule\.cron: 0 0 31 2 \*: never comes/);
    await put(scheduled('@daily', { timeZone: 'Mars/Phobos' }));
    await says('svc/timer', /^InvalidSchedule spec\.schedule\.timeZone: Mars\/Phobos is not/);
    await ask('delete', 'svc', 'timer');
  });

  await t.test('bad input: ten updates, each in the middle of the one before', async () => {
    const more = { updateStrategy: { order: 'StartFirst', monitorSeconds: 0, parallelism: 2 } };
    const version = (value: number): { spec: object } =>
      serviceOf('busy', { replicas: 3, more, template: { env: [{ name: 'V', value: String(value) }] } });
    await put(version(0));
    await kube.waitReady('svc/busy');
    for (let value = 1; value <= 10; value += 1) await put(version(value));
    await ask('wait', '--for=condition=Updated', 'svc/busy', '--timeout=90s');
    await waitFor(async () => (await conditionOf('svc/busy')) === 'ReplicasReady 3 of 3 Ready', SOON);
    const replicas = await kube.replicasOf('busy');
    assert.deepEqual(
      replicas.map(({ spec }) => spec.env?.[0]?.value),
      ['10', '10', '10'],
    );
    const slots = replicas.map(({ metadata }) => metadata.labels?.['windlass.dev/slot'] ?? '').toSorted();
    assert.deepEqual(slots, ['1', '2', '3']);
    for (const { metadata } of replicas)
      assert.equal((await ask('exec', metadata.name, '--', 'sh', '-c', 'echo $V')).trim(), '10');
    await ask('delete', 'svc', 'busy');
  });

  await t.test('bad input: more Services than a network has virtual addresses for', async () => {
    // A quarter of it is for virtual addresses, of which the last is the broadcast address.
    await put(network('tiny', '10.77.0.0/27'));
    await kube.waitReady('net/tiny');
    const names = Array.from({ length: 8 }, (_, index) => `vip-${index + 1}`);
    const items = names.map((name) =>
      serviceOf(name, { replicas: 0, ports: [{ port: 80 }], template: { networks: [{ name: 'tiny' }] } }),
    );
    await put({ apiVersion: 'v1', kind: 'List', items });
    const addresses = async (): Promise<string[]> =>
      (await ask('get', 'svc', ...names, '--ignore-not-found', '-o', 'jsonpath={.items[*].status.virtualIPs[*].ip}'))
        .split(' ')
        .filter((ip) => ip !== '');
    await waitFor(async () => (await addresses()).length === 7, { ...SOON, what: 'seven addresses' });
    assert.equal(new Set(await addresses()).size, 7);
    const reasons = await Promise.all(names.map(async (name) => conditionOf(`svc/${name}`)));
    const [late = ''] = names.filter((_, index) => !reasons[index]?.startsWith('ReplicasReady '));
    await says(`svc/${late}`, /^VirtualIPsExhausted .*no virtual address is left on network tiny: use a larger subnet/);
    const [other = ''] = names.filter((name) => name !== late);
    await ask('delete', 'svc', other);
    await says(`svc/${late}`, /^ReplicasReady /);
    assert.equal((await addresses()).length, 7);
    await ask('delete', 'svc', ...names.filter((name) => name !== other));
    await ask('delete', 'net', 'tiny');
  });

  await t.test('bad input: a subnet that is another network’s', async () => {
    await put(network('here', '10.78.0.0/24'));
    await kube.waitReady('net/here');
    await put(network('there', '10.78.0.128/25'));
    await says(
      'net/there',
      /^SubnetOverlap spec\.subnets\[0\]\.cidr: 10\.78\.0\.128\/25 overlaps 10\.78\.0\.0\/24 of Network default\/here/,
    );
    await ask('delete', 'net', 'here');
    await kube.waitReady('net/there');
    await ask('delete', 'net', 'there');
  });

  await t.test('bad input: a subnet that a node has a route to', async () => {
    // A subnet that is chosen after the node has told of its route is refused for all nodes: this one is there before.
    await put(network('routed', '10.79.1.0/24'));
    await kube.waitReady('net/routed');
    await second.sh('ip route add 10.79.0.0/16 via 10.250.0.1');
    const on = (name: string, nodeName: string): object => ({
      ...{ apiVersion: 'windlass.dev/v1', kind: 'Container', metadata: { name } },
      spec: {
        image: 'windlass.local/busybox:1',
        command: ['sleep', '1000'],
        terminationGracePeriodSeconds: 0,
        nodeName,
        networks: [{ name: 'routed' }],
      },
    });
    await put(on('hindered', 'node-2'));
    await says('ctr/hindered', /overlaps the host's route to 10\.79\.0\.0\/16 over eth0/);
    // Where there is no such route the network works.
    await put(on('free', 'node-3'));
    await kube.waitReady('ctr/free');
    await second.sh('ip route del 10.79.0.0/16');
    await kube.waitReady('ctr/hindered');
    await ask('delete', 'ctr', 'hindered', 'free');
    await ask('delete', 'net', 'routed');
  });

  await t.test("bad input: a machine that claims another node's name", async () => {
    const folder = join(swarm.root, 'node-3');
    const impostor = describeInstance(join(folder, 'other-home'), join(folder, 'other-run'));
    const { code, stderr } = await third.windlass([...joinWords, '--node-name', 'node-2'], impostor);
    assert.match(stderr, /the name "node-2" belongs to a node with another key/);
    assert.equal(code, 1);
    assert.match(await ask('get', 'node', 'node-2'), /node-2 +Ready /);
  });

  await t.test('bad input: none of that was noticed by who had no part in it', async () => {
    assert.deepEqual(await runs(), before);
    assert.match(await conditionOf(`svc/${bystander}`), /^ReplicasReady /);
  });
}
