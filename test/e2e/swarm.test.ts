// What people know from Docker Swarm, promise by promise, on three hosts that have nothing but the windlass command: the
// first is made a server, and all three join it. The number before each name is that of
// docs/swarm.md.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import test from 'node:test';
import type { Lease, Node } from '../../crds/builtin.ts';
import { startBareHosts, type BareHost, type BareHosts } from '../support/cluster/bare-hosts.ts';
import { badServiceSteps } from '../support/cluster/bad-services.ts';
import { createByKubectl, serviceOf, SOON } from '../support/cluster/by-kubectl.ts';
import { makeImage, writeOciLayout } from '../support/images.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const PORT = 30080;
/** Not the one that is there by default. */
const VXLAN_PORT = 4790;
/** A busy machine takes longer than the minute that is the default. */
const DETACH = ['--detach', '--timeout-seconds', '110'];
const ENV = {
  WINDLASS_SANDBOX_POOL: '0',
  WINDLASS_VXLAN_PORT: String(VXLAN_PORT),
  // A server that is busy with the start of three nodes must not lose its lead over it.
  WINDLASS_LEASE_DURATION_SECONDS: '30',
};

test('what Swarm promises, on three hosts', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl', 'openssl', 'ss')) return;
  const swarm = await startBareHosts(3, ENV);
  t.after(() => swarm[Symbol.asyncDispose]());
  const { hosts, server, kubectl } = swarm;
  const [first, second, third] = hosts as [BareHost, BareHost, BareHost];
  const url = `https://${first.ipv4}:6443`;
  const kube = createByKubectl(swarm);
  const { ask, put, waitReady, objects, replicasOf, conditionOf, says } = kube;

  let words: string[] = [];
  await t.test('95 the first machine is set up by one command, a second time is refused', async () => {
    // Its address need not be said: there is one.
    const made = await first.windlass(['server', ...DETACH], server);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stderr, new RegExp(`API server +${url}`));
    assert.match(made.stdout, joinCommand(url));
    words = made.stdout.trim().split(' ').slice(1);
    for (const command of ['server', 'up']) {
      const again = await first.windlass([command, '--detach'], server);
      assert.match(again.stderr, /already running as process \d+/);
      assert.notEqual(again.code, 0);
    }
  });

  await t.test('96 machines join by the command that was printed; what it lacks is named', async () => {
    const token = words[words.indexOf('--token') + 1] ?? '';
    const short = await second.windlass(['node', '--token', token]);
    assert.match(short.stderr, /missing --server, --ca-hash: .*windlass token create --print-join-command/);
    assert.equal(short.code, 2);
    const joined = await Promise.all(hosts.map((host) => host.windlass([...words, ...DETACH])));
    for (const [index, { code, stderr }] of joined.entries()) {
      assert.equal(code, 0, stderr);
      assert.match(stderr, new RegExp(`joined ${url} as node node-${index + 1}`));
    }
    await waitReady('node/node-1', 'node/node-2', 'node/node-3');
    await Promise.all(hosts.map((host) => host.importBusybox()));
  });

  await t.test('97 the nodes are listed with state, availability, role and version', async () => {
    await ask('label', 'node', 'node-1', 'node-role.kubernetes.io/control-plane=');
    await ask('cordon', 'node-3');
    const table = (await ask('get', 'nodes')).trim().split('\n');
    assert.match(table[0] ?? '', /^NAME +STATUS +ROLES +AGE +VERSION$/);
    assert.match(table[1] ?? '', /^node-1 +Ready +control-plane +\d+m?\d*s +\S+/);
    assert.match(table[2] ?? '', /^node-2 +Ready +<none> /);
    assert.match(table[3] ?? '', /^node-3 +Ready,SchedulingDisabled +<none> /);
    await ask('uncordon', 'node-3');
    assert.match(await ask('get', 'node', 'node-3'), /node-3 +Ready +<none>/);
  });

  await t.test(
    '94 all that nodes say is encrypted, for those with a certificate, which is seen and runs out',
    async () => {
      const csrs = await ask('get', 'csr');
      for (const signer of ['kube-apiserver-client-kubelet', 'kubelet-serving'])
        assert.equal(csrs.match(new RegExp(`kubernetes.io/${signer} .*Approved,Issued`, 'g'))?.length, 3, csrs);
      for (const name of ['node', 'node-agent']) {
        const life = await second.sh(`openssl x509 -noout -dates -in ${second.instance.home}/pki/${name}.crt`);
        const [from = 0, to = 0] = [...life.matchAll(/=(.*)/g)].map(([, time]) => Date.parse(time ?? ''));
        assert.equal(Math.round((to - from) / 86_400_000), 90, life);
      }
      // Nobody else is listened to, neither by the server nor by an agent, and nothing answers without TLS.
      assert.match(
        (await swarm.curl(`${url}/api/v1/nodes`, 5)) ?? 'no answer',
        /^no answer$/,
        'an authority of its own',
      );
      assert.equal(await httpsStatus(second, `${url}/api/v1/nodes`), '401');
      for (const { ipv4 } of hosts) {
        assert.equal(await httpsStatus(second, `https://${ipv4}:10250/containerLogs/default/x/x`), '000');
        assert.equal(await swarm.curl(`http://${ipv4}:10250/`, 5), undefined);
      }
    },
  );

  await t.test('93 machines listen at the documented ports, or as configured, and at no other', async () => {
    const documented = readFileSync(new URL('../../docs/joining.md', import.meta.url), 'utf8');
    const ports = [...documented.matchAll(/^\| (\d+\/(?:tcp|udp)) \|/gm)].map(([, port = '']) =>
      port === '4789/udp' ? `${VXLAN_PORT}/udp` : port,
    );
    for (const host of hosts) {
      const lines = (await host.sh('ss -Htuln')).split('\n').map((line) => line.split(/ +/));
      const open = lines
        // Loopback, and the resolvers of networks, which no other machine reaches.
        .filter(([, , , , local = '']) => !/^(127\.|\[::1\]|10\.(?!250\.))/.test(local))
        .map(([protocol, , , , local = '']) => `${local.slice(local.lastIndexOf(':') + 1)}/${protocol}`);
      for (const port of open) assert.ok(ports.includes(port), `${host.name}: ${port} is not in docs/joining.md`);
      for (const port of ['10250/tcp', `${VXLAN_PORT}/udp`]) assert.ok(open.includes(port), `${host.name}: ${port}`);
    }
  });

  await t.test('98 a Service is created and published, and said to be there when it is', async () => {
    await put(serviceOf('website', { ports: [{ port: 80, targetPort: 8080, publishedPort: PORT }] }));
    await ask('wait', '--for=condition=Updated', 'svc/website', '--timeout=90s');
    await waitReady('svc/website');
    assert.equal(await conditionOf('svc/website'), 'ReplicasReady 1 of 1 Ready');
  });

  await t.test('99 Services are listed with replicas and ports', async () => {
    const [head, row] = (await ask('get', 'svc')).trim().split('\n');
    assert.match(head ?? '', /^NAME +MODE +DESIRED +READY +UPDATED +REASON +PORTS +AGE$/);
    assert.match(row ?? '', new RegExp(`^website +Replicated +1 +1 +1 +ReplicasReady +${PORT} +`));
  });

  await t.test('100 its Containers are listed with node, state and reason', async () => {
    const [head, row] = (await ask('get', 'ctr', '-l', 'windlass.dev/service=website', '-o', 'wide'))
      .trim()
      .split('\n');
    assert.match(head ?? '', /^NAME +STATUS +READY +REASON +RESTARTS +IMAGE +IP +NODE +MESSAGE +AGE$/);
    assert.match(row ?? '', /^website-1 +Running +True +\w+ +0 +\S+busybox:1 +[\d.]+ +node-[123] /);
  });

  await t.test('101 every node answers at the published port, although one runs the replica', async () => {
    for (const { ipv4, name } of hosts)
      await waitFor(async () => (await swarm.curl(`http://${ipv4}:${PORT}/`, 2))?.trim() === 'website-1', {
        ...SOON,
        what: `an answer by ${name}`,
      });
  });

  const requests = 300;
  let oneReplica = { failed: 0, seconds: 0 };
  await t.test('102 five replicas are spread 2/2/1', async () => {
    oneReplica = await load(hosts, requests);
    assert.match(await ask('scale', 'services.windlass.dev/website', '--replicas=5'), /scaled/);
    await waitFor(async () => (await conditionOf('svc/website')) === 'ReplicasReady 5 of 5 Ready', SOON);
    const replicas = await replicasOf('website');
    const counts = Object.values(Object.groupBy(replicas, ({ spec }) => spec.nodeName ?? '')).map((on) =>
      String(on?.length),
    );
    assert.deepEqual(counts.toSorted(), ['1', '2', '2']);
  });

  await t.test('103 more replicas share the requests, and none fails', async (step) => {
    const names = (await replicasOf('website')).map(({ metadata }) => metadata.name).toSorted();
    for (const { ipv4, name } of hosts) {
      const met = new Set<string>();
      await waitFor(
        async () => {
          met.add((await swarm.curl(`http://${ipv4}:${PORT}/`, 2))?.trim() ?? 'nothing');
          return names.every((one) => met.has(one));
        },
        { ...SOON, intervalMs: 0, what: `all replicas by ${name}` },
      );
      assert.deepEqual([...met].toSorted(), names);
    }
    const five = await load(hosts, requests);
    assert.deepEqual([oneReplica.failed, five.failed], [0, 0]);
    assert.deepEqual([...five.by.keys()].toSorted(), names);
    const rate = ({ seconds }: { seconds: number }): number => Math.round(requests / seconds);
    step.diagnostic(`${rate(oneReplica)} requests/s with one replica, ${rate(five)} with five`);
  });

  await t.test('104 a port belongs to one Service; another one is told whose it is, and takes another', async () => {
    await put(serviceOf('other', { ports: [{ port: 80, targetPort: 8080, publishedPort: PORT }] }));
    await says('svc/other', new RegExp(`^PortConflict .*port ${PORT}/TCP is published by Service default/website`));
    await put(serviceOf('other', { ports: [{ port: 80, targetPort: 8080, publishedPort: PORT + 1 }] }));
    await waitReady('svc/other');
    await waitFor(async () => (await swarm.curl(`http://${third.ipv4}:${PORT + 1}/`, 2))?.trim() === 'other-1', SOON);
    assert.match((await swarm.curl(`http://${third.ipv4}:${PORT}/`, 2)) ?? '', /^website-\d/);
    await ask('delete', 'svc', 'other', '--wait=false');
  });

  await t.test('90 the scheduler places by what is reserved, and says what is missing where', async () => {
    const [{ status } = {}] = await objects<Node>('nodes');
    const share = Math.floor(Number(status?.allocatable?.['cpu']) * 600);
    const resources = { requests: { cpu: `${share}m` } };
    await put(serviceOf('heavy', { replicas: 4, template: { resources } }));
    await waitFor(async () => /^\w+ 3 of 4 Ready/.test(await conditionOf('svc/heavy')), {
      ...SOON,
      what: 'three of four',
    });
    const replicas = await replicasOf('heavy');
    const places = replicas.flatMap(({ spec }) => spec.nodeName ?? []);
    assert.deepEqual(places.toSorted(), ['node-1', 'node-2', 'node-3']);
    const waiting = replicas.find(({ spec }) => spec.nodeName === undefined)?.metadata.name ?? '';
    await says(`ctr/${waiting}`, /^Unschedulable 0\/3 nodes are available: 3 node\(s\) had insufficient cpu \(/);
    await ask('scale', 'services.windlass.dev/heavy', '--replicas=3');
    await waitReady('svc/heavy');
    await ask('delete', 'svc', 'heavy', '--wait=false');
  });

  await t.test('91 the machine of the server runs work too, unless it is drained; one process leads', async () => {
    const on = async (node: string): Promise<string[]> =>
      (await replicasOf('website')).filter(({ spec }) => spec.nodeName === node).map(({ metadata }) => metadata.name);
    assert.notEqual((await on('node-1')).length, 0);
    await ask('drain', 'node-1', '--timeout=60s');
    assert.deepEqual(await on('node-1'), []);
    await waitFor(async () => (await conditionOf('svc/website')) === 'ReplicasReady 5 of 5 Ready', SOON);
    assert.match(await ask('get', 'node', 'node-1'), /Ready,SchedulingDisabled +control-plane/);
    await ask('uncordon', 'node-1');

    const leader = async (): Promise<string | undefined> =>
      (await objects<Lease>('leases', '-A')).find(({ metadata }) => metadata.name === 'windlass-controllers')?.spec
        ?.holderIdentity;
    const before = await leader();
    assert.ok(before);
    await first.sh('pkill -9 -f [c]ontrollers/main.ts');
    await ask('scale', 'services.windlass.dev/website', '--replicas=6');
    await waitFor(async () => (await conditionOf('svc/website')) === 'ReplicasReady 6 of 6 Ready', SOON);
    assert.notEqual(await leader(), before);
  });

  await t.test('106 a container runs on the kernel of its node, as processes that are seen there', async () => {
    const [replica] = await replicasOf('website');
    const host = hosts.find(({ name }) => name === replica?.spec.nodeName) as BareHost;
    const name = replica?.metadata.name ?? '';
    assert.equal((await ask('exec', name, '--', 'uname', '-r')).trim(), await host.sh('uname -r'));
    const inside = (await ask('exec', name, '--', 'sh', '-c', 'readlink /proc/1/ns/pid')).trim();
    const seen = await host.sh(
      'for p in $(pgrep -f "[h]ttpd -f -p 8080"); do echo $(readlink /proc/$p/ns/pid) $(tr "\\0" " " </proc/$p/cmdline); done',
    );
    assert.match(seen, new RegExp(`^${inside.replace(/[[\]]/g, '\\$&')} httpd -f -p 8080 -h /tmp`, 'm'));
    assert.notEqual(inside, await host.sh('readlink /proc/1/ns/pid'));
  });

  await t.test('107 an image of another platform runs nowhere, and says why', async () => {
    const layout = `${swarm.root}/node-2/s390x`;
    await second.sh(`mkdir ${layout}`);
    writeOciLayout(layout, makeImage({ architecture: 's390x', config: { Cmd: ['sh'] } }));
    const spec = { import: { hostPath: layout, nodeName: 'node-2' }, tags: ['windlass.local/mainframe:1'] };
    await put({ apiVersion: 'windlass.dev/v1', kind: 'Image', metadata: { name: 'mainframe' }, spec });
    await waitReady('img/mainframe');
    await put({ ...serviceOf('foreign'), spec: { template: { spec: { imageName: 'mainframe' } } } });
    await says(
      'svc/foreign',
      /^Unschedulable .*0\/3 nodes are available: 3 node\(s\) had another platform than the image's linux\/s390x/,
    );
    const { code } = await kubectl(['delete', 'svc', 'foreign', '--timeout=30s']);
    assert.equal(code, 0);
  });

  await badServiceSteps(t, swarm, { joinWords: words, bystander: 'website' });
});

const joinCommand = (url: string): RegExp =>
  new RegExp(`^windlass node --server ${url} --token [a-z0-9]{6}\\.[a-z0-9]{16} --ca-hash sha256:[0-9a-f]{64}$`, 'm');

/** Status of the answer, without a certificate; 000 when there is none. */
const httpsStatus = (host: BareHost, url: string): Promise<string> =>
  host.sh(`curl -sk --max-time 5 -o /dev/null -w '%{http_code}' ${url} || true`);

/** `count` requests to the published port, 30 at a time, by all nodes in turn. */
async function load(
  hosts: BareHosts['hosts'],
  count: number,
): Promise<{ failed: number; seconds: number; by: Map<string, number> }> {
  const by = new Map<string, number>();
  let [failed, next] = [0, 0];
  const startedAt = performance.now();
  const client = async (): Promise<void> => {
    while (next < count) {
      const { ipv4 } = hosts[next % hosts.length] as BareHost;
      next += 1;
      const answer = await get(`http://${ipv4}:${PORT}/`);
      if (answer === undefined) failed += 1;
      else by.set(answer.trim(), (by.get(answer.trim()) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: 30 }, client));
  return { failed, by, seconds: (performance.now() - startedAt) / 1000 };
}

function get(url: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asked = request(url, { agent: false, timeout: 10_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.once('end', () => resolve(response.statusCode === 200 ? text : undefined));
      response.once('error', () => resolve(undefined));
    });
    asked.once('timeout', () => asked.destroy());
    asked.once('error', () => resolve(undefined));
    asked.end();
  });
}
