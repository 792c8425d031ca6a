// Every file of manifests/examples/: applied, does what its comments promise, and leaves nothing behind when deleted.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { freePorts } from '../../cli/ports.ts';
import { describeInstance, paths } from '../../lib/instance.ts';
import { canBuild } from '../support/can-build.ts';
import { importBusybox } from '../support/busybox.ts';
import {
  deleteContainers,
  readyOf,
  runToEnd,
  statusOf,
  waitForStatus,
  type ObservedStatus,
} from '../support/containers.ts';
import { takeHostSnapshot } from '../support/host-snapshot.ts';
import { makeBusyboxImage } from '../support/images.ts';
import { startInstance, type TestInstance } from '../support/instance.ts';
import { pickSubnet } from '../support/own-subnet.ts';
import { startTestRegistry } from '../support/registry.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';
import { lacksWireguard } from '../support/wireguard.ts';

/** Looks at the load more often, and believes sooner that it is gone. */
const SHORT_TIMES = { WINDLASS_AUTOSCALE_SYNC_SECONDS: '1', WINDLASS_AUTOSCALE_DOWN_WINDOW_SECONDS: '3' };

/** Stands for the addresses that an example chooses. */
const PREFIX = pickSubnet();

const FOLDER = new URL('../../manifests/examples/', import.meta.url);

interface Example {
  /** Changes the text for the test: addresses that are free, shorter times. */
  readonly prepare?: (text: string) => string | Promise<string>;
  readonly check: (context: Context) => Promise<void>;
}

interface Context {
  readonly instance: TestInstance;
  /** The port that stands for one of the file. */
  readonly port: (written: number) => number;
  readonly ready: (...names: string[]) => Promise<void>;
  /** Output of a command in a container; it must end with 0. */
  readonly exec: (name: string, ...command: string[]) => Promise<string>;
  /** Waits for the container's phase and the reason of Ready. */
  readonly ends: (name: string, phase: string, reason: string) => Promise<ObservedStatus>;
}

const EXAMPLES: Readonly<Record<string, Example>> = {
  'autoscale.yaml': {
    async check({ instance, exec }) {
      const field = (path: string): Promise<string> =>
        instance.kubectlOk(['get', 'services.windlass.dev/burner', '-o', `jsonpath={${path}}`]);
      const has = (path: string, value: string, timeoutMs = 60_000): Promise<boolean> =>
        waitFor(async () => (await field(path)) === value, { timeoutMs, what: `${path} = ${value}` });
      await has('.status.readyReplicas', '1');
      await exec('burner-1', 'touch', '/tmp/work');
      await has('.spec.replicas', '3');
      await has('.status.readyReplicas', '3');
      assert.equal(await field('.status.conditions[?(@.type=="ScalingActive")].reason'), 'ValidMetricFound');
      assert.ok(Number(await field('.status.autoscale.currentCpuPercent')) > 50);
      assert.match(await instance.kubectlOk(['top', 'pod']), /^burner-1 +\d+m +\d+Mi/m);
      assert.match(await instance.kubectlOk(['top', 'node']), /^\S+ +\d+m +\d+% +\d+Mi +\d+%/m);
      await exec('burner-1', 'rm', '/tmp/work');
      await has('.spec.replicas', '1');
      await has('.status.replicas', '1');
      const spec = { template: { spec: { resources: null } } };
      await instance.kubectlOk([
        ...['patch', 'services.windlass.dev/burner', '--type=merge', '-p', JSON.stringify({ spec })],
      ]);
      await has('.status.conditions[?(@.type=="ScalingActive")].reason', 'NoCpuRequest');
      await instance.kubectlOk([
        ...['patch', 'services.windlass.dev/burner', '--type=merge', '-p', '{"spec":{"autoscale":null}}'],
      ]);
      await has('.status.autoscale', '');
      assert.equal(await field('.status.conditions[?(@.type=="ScalingActive")].reason'), '');
    },
  },
  'disruption-budget.yaml': {
    async check({ instance }) {
      const field = (object: string, path: string): Promise<string> =>
        instance.kubectlOk(['get', object, '-o', `jsonpath={${path}}`]);
      const allows = (count: string): Promise<boolean> =>
        waitFor(async () => (await field('pdb/quorum', '.status.disruptionsAllowed')) === count, { timeoutMs: 60_000 });
      await allows('1');
      const node = await field('nodes', '.items[0].metadata.name');
      const drain = ['drain', node, '--pod-selector=app=quorum', '--timeout=2s'];
      const { code, stderr } = await instance.kubectl(drain);
      assert.notEqual(code, 0);
      assert.match(stderr, /Cannot evict pod as it would violate the pod's disruption budget/);
      // The one that was let go has nowhere else to run; the two others stay.
      await waitFor(async () => (await field('services.windlass.dev/quorum', '.status.readyReplicas')) === '2');
      await allows('0');
      await instance.kubectlOk(['uncordon', node]);
      await allows('1');
      await instance.kubectlOk(['taint', 'node', node, 'windlass.dev/drain=:NoExecute']);
      const reason = '.status.conditions[?(@.type=="Drained")].reason';
      await waitFor(async () => (await field(`node/${node}`, reason)) === 'DisruptionBudget', { timeoutMs: 60_000 });
      await instance.kubectlOk(['taint', 'node', node, 'windlass.dev/drain-']);
      await allows('1');
    },
  },
  'command-and-env.yaml': {
    async check({ instance, ready }) {
      await ready('env');
      const output = await waitFor(async () => {
        const text = await instance.kubectlOk(['logs', 'env']);
        return text.includes('TIER=') && text;
      });
      for (const line of [
        'in /tmp as 1000:1000',
        'SENTENCE=hello from env, a $(literal) stays',
        'TIER=demo',
        'COLOUR=blue',
        'PASSWORD=swordfish',
        'CONFIG_size=large',
      ])
        assert.ok(output.split('\n').includes(line), `${line} is missing in ${output}`);
    },
  },
  'desired-state.yaml': {
    async check({ instance, ready, ends }) {
      await ready('states');
      await ends('created', 'Created', 'Created');
      const patch = (spec: object): Promise<string> =>
        instance.kubectlOk(['patch', 'ctr', 'states', '--type=merge', '-p', JSON.stringify({ spec })]);
      await patch({ desiredState: 'Paused' });
      await ends('states', 'Paused', 'Paused');
      await patch({ desiredState: 'Running' });
      await ready('states');
      await patch({ desiredState: 'Stopped' });
      await ends('states', 'Succeeded', 'Stopped');
      await patch({ desiredState: 'Running' });
      await ready('states');
      const { containerID } = await statusOf(instance, 'states');
      await patch({ restartedAt: '2026-01-31T12:00:00Z' });
      await waitForStatus(
        instance,
        'states',
        (status) => status.containerID !== containerID && readyOf(status)?.status === 'True',
      );
    },
  },
  'health-check.yaml': {
    async check({ instance, ready, exec }) {
      assert.equal(
        readyOf(await waitForStatus(instance, 'by-command', ({ phase }) => phase === 'Running'))?.reason,
        'Starting',
      );
      await ready('by-command', 'by-http', 'by-tcp');
      await exec('by-command', 'rm', '/healthy');
      await exec('by-http', 'rm', '/index.html');
      await waitForStatus(instance, 'by-http', (status) => readyOf(status)?.reason === 'Unhealthy');
      await waitForStatus(instance, 'by-command', ({ restartCount }) => restartCount === 1, 30_000);
      await ready('by-command');
      assert.equal((await statusOf(instance, 'by-http')).restartCount, 0);
    },
  },
  'host-network.yaml': {
    async check({ ready, port }) {
      await ready('on-the-node');
      await answers(`http://127.0.0.1:${port(8083)}/`, 'hello');
    },
  },
  'build.yaml': {
    async check({ instance, ready }) {
      await instance.kubectlOk(['wait', '--for=condition=Built', 'img/greeter', '--timeout=90s'], {
        timeoutMs: 100_000,
      });
      await ready('greeter');
      await waitFor(async () => (await instance.kubectlOk(['logs', 'greeter'])) === 'good morning from a build\n');
      const log = '/apis/windlass.dev/v1/namespaces/default/images/greeter/log';
      assert.match(await instance.kubectlOk(['get', '--raw', log]), /COPY --chmod=0755 greet/);
    },
  },
  'image.yaml': {
    check: async ({ instance, ready }) => {
      await instance.kubectlOk(['wait', '--for=condition=Ready', 'img/app', '--timeout=30s']);
      await ready('app');
    },
  },
  'interactive.yaml': {
    async check({ instance, ready }) {
      await ready('shell');
      const second = await instance.kubectlOk(['exec', '-i', 'shell', '--', 'sh'], { input: 'echo beside it\n' });
      assert.equal(second, 'beside it\n');
    },
  },
  'job.yaml': {
    async check({ instance }) {
      const job = 'services.windlass.dev/sums';
      const wait = ['wait', '--for=condition=Complete', job, '--timeout=60s'];
      await instance.kubectlOk(wait);
      const counts = ['get', job, '-o', 'jsonpath={.status.succeeded} {.status.failed} {.status.completedSlots}'];
      assert.equal(await instance.kubectlOk(counts), '3 1 1-3');
      assert.equal(await instance.kubectlOk(['logs', 'sums-2']), 'I am sums-2\n');
      assert.equal(await instance.kubectlOk(['logs', 'sums-2-try2']), 'I am sums-2-try2\n');
      await instance.kubectlOk(['patch', job, '--type=merge', '-p', '{"spec":{"job":{"completions":4}}}']);
      await waitFor(async () => (await instance.kubectlOk(counts)) === '4 1 1-4');
      await instance.kubectlOk(wait);
    },
  },
  'schedule.yaml': {
    async check({ instance }) {
      const next = ['get', 'services.windlass.dev/nightly', '-o', 'jsonpath={.status.nextScheduleTime}'];
      // Half past two in Berlin is 00:30 or 01:30 of UTC.
      await waitFor(async () => /^\d{4}-\d\d-\d\dT0[01]:30:00Z$/.test(await instance.kubectlOk(next)));
    },
  },
  'mounts.yaml': {
    async check({ instance, ready, exec }) {
      await ready('mounts');
      const listed = await exec('mounts', 'ls', '/etc/app', '/etc/keys', '/var', '/host-etc');
      for (const name of ['app.conf', 'key', 'www', 'passwd']) assert.match(listed, new RegExp(`^${name}$`, 'm'));
      assert.doesNotMatch(listed, /other\.conf/);
      assert.equal(await exec('mounts', 'cat', '/etc/app/app.conf', '/etc/keys/key'), 'level = info\nswordfish');
      assert.match(await exec('mounts', 'mount'), /tmpfs on \/scratch .*size=8192k/);
      const manifest = await instance.kubectlOk(['get', 'ctr', 'mounts', '-o', 'yaml']);
      await instance.kubectlOk(['delete', 'ctr', 'mounts', '--timeout=30s']);
      await instance.kubectlOk(['create', '-f', '-'], {
        input: manifest.replace(/^ {2}(uid|resourceVersion):.*\n/gm, ''),
      });
      await ready('mounts');
      assert.equal((await exec('mounts', 'wc', '-l', '/named/starts')).trim(), '2 /named/starts');
    },
  },
  'networks.yaml': {
    prepare: (text) => text.replaceAll('10.77.0.', `${PREFIX}.`),
    async check({ instance, ready, exec }) {
      await ready('front', 'back');
      for (const name of ['database', 'back', 'back.default'])
        assert.equal(await exec('front', 'wget', '-qO-', `http://${name}/`), 'data\n');
      const outside = await instance.kubectl(['exec', 'back', '--', 'ping', '-c', '1', '-W', '2', '9.9.9.9']);
      assert.notEqual(outside.code, 0);
      const { networks } = await statusOf(instance, 'back');
      assert.deepEqual(
        networks?.map(({ name, ipv4Address }) => [name, ipv4Address]),
        [['private', `${PREFIX}.10`]],
      );
    },
  },
  'ipv6.yaml': {
    async check({ instance, ready, exec }) {
      await ready('shown', 'asking');
      const { networks = [] } = await statusOf(instance, 'shown');
      const address = networks[0]?.ipv6Address ?? '';
      assert.match(address, /^fd/);
      await exec('asking', 'ping', '-6', '-c', '1', '-W', '5', 'shown');
      assert.equal(await exec('asking', 'wget', '-qO-', `http://[${address}]/`), 'six\n');
    },
  },
  'overlay.yaml': {
    async check({ instance, ready, exec }) {
      await ready('here', 'there');
      const { networks = [] } = await statusOf(instance, 'there');
      assert.deepEqual(
        networks.map(({ name }) => name),
        ['fabric', 'default'],
      );
      await exec('here', 'ping', '-c', '1', '-W', '5', networks[0]?.ipv4Address ?? '');
      assert.equal(await exec('here', 'wget', '-qO-', 'http://store/'), 'data\n');
    },
  },
  'encrypted.yaml': {
    async check({ instance, ready, exec }) {
      const field = (object: string, path: string): Promise<string> =>
        instance.kubectlOk(['get', object, '-o', `jsonpath={${path}}`]);
      const reason = (type: string): string => `.status.conditions[?(@.type=="${type}")].reason`;
      if (lacksWireguard() === false) {
        await ready('safe');
        assert.equal(await field('network/vault', reason('Encrypted')), 'AllNodes');
        assert.equal(await exec('safe', 'wget', '-qO-', 'http://safe/'), 'locked\n');
        return;
      }
      const isRefused = async (): Promise<boolean> =>
        (await field('network/vault', reason('Ready'))) === 'EncryptionUnavailable';
      await waitFor(isRefused, { timeoutMs: 60_000, what: 'a network that is refused' });
      assert.equal(await field('network/vault', reason('Encrypted')), 'NodesLackEncryption');
      const node = await field('nodes', '.items[0].metadata.name');
      const message = await field('network/vault', '.status.conditions[?(@.type=="Encrypted")].message');
      assert.match(message, new RegExp(`on node ${node} \\(the kernel has no WireGuard`));
      const says = async (): Promise<boolean> =>
        /could not encrypt network vault|EncryptionUnavailable/.test(await field('ctr/safe', '.status.conditions'));
      await waitFor(says, { timeoutMs: 60_000, what: 'a container that says why' });
      assert.equal(await field('ctr/safe', '.status.phase'), 'Pending');
      assert.equal(await field('ctr/safe', '.status.networks'), '', 'it has been given no address');
    },
  },
  'routing-mesh.yaml': {
    async check({ ready, port }) {
      await ready('front-1', 'front-2', 'edge-1');
      const ask = (wanted: number): Promise<string | undefined> => bodyOf(`http://127.0.0.1:${port(wanted)}/`);
      // The last replica to come takes its share of the clients: once it is there, nobody is moved.
      await waitFor(async () => {
        const answers: (string | undefined)[] = [];
        for (let index = 0; index < 6; index += 1) answers.push(await ask(8085));
        return answers[0] !== undefined && new Set(answers).size === 1;
      });
      await waitFor(async () => (await ask(8086)) === 'edge-1');
    },
  },
  'ports.yaml': {
    async check({ instance, ready, port }) {
      await ready('ports');
      const { ports = [] } = await statusOf(instance, 'ports');
      assert.equal(ports.length, 3);
      for (const each of [port(8081), port(8082), ports[2]?.hostPort ?? 0])
        await answers(`http://127.0.0.1:${each}/`, 'hello');
    },
  },
  'resources.yaml': {
    async check({ instance, ready, ends }) {
      await ready('modest');
      await ends('greedy', 'Failed', 'OOMKilled');
      const { containerID } = await statusOf(instance, 'modest');
      await instance.kubectlOk([
        'patch',
        'ctr',
        'modest',
        '--type=merge',
        '-p',
        '{"spec":{"resources":{"limits":{"memory":"32Mi"}}}}',
      ]);
      await waitFor(async () => (await instance.kubectlOk(['get', 'events'])).includes('changing its resources'));
      assert.equal((await statusOf(instance, 'modest')).containerID, containerID);
    },
  },
  'restart.yaml': {
    async check({ instance, ends }) {
      const backoff = await ends('always', 'Pending', 'BackOff');
      assert.match(readyOf(backoff)?.message ?? '', /exited with code 0.*restart \d+ at \d{4}-\d\d-\d\dT/);
      await waitForStatus(instance, 'always', ({ restartCount = 0 }) => restartCount >= 2);
      const failed = await ends('on-failure', 'Failed', 'Error');
      assert.deepEqual([failed.restartCount, failed.exitCode], [2, 3]);
      const never = await ends('never', 'Failed', 'Error');
      assert.deepEqual([never.restartCount, never.exitCode], [0, 3]);
    },
  },
  'run-once.yaml': {
    prepare: (text) => text.replace('ttlSecondsAfterFinished: 60', 'ttlSecondsAfterFinished: 3'),
    async check({ instance, ends }) {
      await ends('once', 'Succeeded', 'Completed');
      assert.equal(await instance.kubectlOk(['logs', 'once']), 'done\n');
      await instance.kubectlOk(['wait', '--for=delete', 'ctr/once', '--timeout=30s']);
    },
  },
  'security-context.yaml': {
    async check({ instance, ready, exec }) {
      await ready('locked', 'networker', 'privileged');
      const refused = await instance.kubectl(['exec', 'locked', '--', 'touch', '/x']);
      assert.match(refused.stderr, /Read-only file system/);
      const status = await exec('locked', 'cat', '/proc/self/status');
      assert.match(status, /^NoNewPrivs:\t1$/m);
      assert.match(status, /^CapEff:\t0+$/m);
      assert.match(status, /^Uid:\t65534/m);
      await exec('networker', 'ip', 'addr', 'add', '10.99.0.1/32', 'dev', 'lo');
      const plain = await instance.kubectl(['exec', 'locked', '--', 'ip', 'addr', 'add', '10.99.0.1/32', 'dev', 'lo']);
      assert.match(plain.stderr, /Operation not permitted/);
      await exec('privileged', 'mount', '-t', 'tmpfs', 'none', '/tmp');
    },
  },
  'service.yaml': {
    async check({ instance, port }) {
      const wait = (): Promise<string> =>
        instance.kubectlOk(['wait', '--for=condition=Ready', 'services.windlass.dev/shop', '--timeout=60s']);
      await wait();
      const url = `http://127.0.0.1:${port(8084)}/`;
      const seen = new Set<string>();
      await waitFor(async () => seen.add((await bodyOf(url)) ?? '').has('shop-1') && seen.has('shop-2'));
      await instance.kubectlOk(['scale', 'services.windlass.dev/shop', '--replicas=4']);
      await waitFor(async () => (await readyReplicas(instance)) === '4', { timeoutMs: 30_000 });
      const uidOf = async (): Promise<string> =>
        (await instance.kubectl(['get', 'ctr', 'shop-2', '-o', 'jsonpath={.metadata.uid}'])).stdout;
      const uid = await uidOf();
      await instance.kubectlOk(['delete', 'ctr', 'shop-2', '--wait=false']);
      await waitFor(async () => ![uid, ''].includes(await uidOf()) && (await readyReplicas(instance)) === '4', {
        timeoutMs: 30_000,
      });
      await instance.kubectlOk([
        'patch',
        'services.windlass.dev/shop',
        '--type=merge',
        '-p',
        '{"spec":{"template":{"metadata":{"annotations":{"version":"2"}}}}}',
      ]);
      await waitFor(
        async () => {
          const text = await instance.kubectlOk([
            'get',
            'services.windlass.dev/shop',
            '-o',
            'jsonpath={.status.updatedReplicas} {.status.readyReplicas} {.status.currentRevision}={.status.updateRevision}',
          ]);
          const [updated, available, revisions = ''] = text.split(' ');
          const [current, update] = revisions.split('=');
          return updated === '4' && available === '4' && current === update;
        },
        { timeoutMs: 90_000, what: 'the update of four replicas' },
      );
      assert.equal(await waitFor(() => bodyOf(url)).then((body) => body.startsWith('shop-')), true);
    },
  },
  'rolling-update.yaml': {
    async check({ instance, exec }) {
      const service = 'services.windlass.dev/careful';
      const updated = (): Promise<string> =>
        instance.kubectlOk(['wait', '--for=condition=Updated', service, '--timeout=90s'], { timeoutMs: 100_000 });
      const setVersion = (value: string): Promise<string> => {
        const patch = [{ op: 'replace', path: '/spec/template/spec/env/0/value', value }];
        return instance.kubectlOk(['patch', service, '--type=json', '-p', JSON.stringify(patch)]);
      };
      const versions = (): Promise<string> =>
        instance.kubectlOk([
          ...['get', 'ctr', '-l', 'windlass.dev/service=careful'],
          ...['-o', 'jsonpath={.items[*].spec.env[0].value}'],
        ]);
      await updated();
      assert.equal(await versions(), '1 1');
      await setVersion('2');
      await updated();
      assert.equal(await versions(), '2 2');
      await setVersion('broken');
      const reason = (): Promise<string> =>
        instance.kubectlOk(['get', service, '-o', 'jsonpath={.status.conditions[?(@.type=="Updated")].reason}']);
      await waitFor(async () => (await reason()) === 'RolledBack', { timeoutMs: 90_000, what: 'the rollback' });
      await waitFor(async () => (await versions()) === '2 2', { timeoutMs: 30_000 });
      await instance.kubectlOk(['patch', service, '--type=merge', '-p', '{"spec":{"rollbackTo":1}}']);
      await updated();
      await waitFor(async () => (await versions()) === '1 1', { timeoutMs: 30_000 });
      const [name = ''] = (
        await instance.kubectlOk(['get', 'ctr', '-l', 'windlass.dev/service=careful', '-o', 'name'])
      ).split('\n');
      assert.match(await exec(name.replace(/^.*\//, ''), 'sh', '-c', 'echo $VERSION'), /^1$/m);
    },
  },
  'global.yaml': {
    async check({ instance }) {
      const service = 'services.windlass.dev/watcher';
      await instance.kubectlOk(['wait', '--for=condition=Updated', service, '--timeout=60s'], { timeoutMs: 70_000 });
      const node = (await instance.kubectlOk(['get', 'nodes', '-o', 'jsonpath={.items[0].metadata.name}'])).trim();
      const name = `watcher-${node}`;
      assert.match(await waitFor(() => instance.kubectlOk(['logs', name])), new RegExp(`on ${node}`));
      assert.match(await instance.kubectlOk(['get', 'ds', 'watcher']), /watcher +1 +1 +1 +1 +1/);
      await instance.kubectlOk(['label', 'node', node, 'watched=no']);
      await instance.kubectlOk(['wait', '--for=delete', `ctr/${name}`, '--timeout=60s'], { timeoutMs: 70_000 });
      await instance.kubectlOk(['label', 'node', node, 'watched-']);
      await instance.kubectlOk(['wait', '--for=create', `ctr/${name}`, '--timeout=30s']);
    },
  },
  'slot-volumes.yaml': {
    async check({ instance, ready, exec }) {
      const service = 'services.windlass.dev/store';
      await waitFor(async () => (await instance.kubectl(['get', 'ctr/store-2'])).code === 0);
      await ready('store-1', 'store-2');
      const read = (): Promise<string> => exec('store-2', 'cat', '/letters/first');
      const first = await waitFor(read);
      assert.match(first, /^store-2 /);
      assert.notEqual(await exec('store-1', 'cat', '/letters/first'), first);
      await instance.kubectlOk(['delete', 'ctr', 'store-2', '--timeout=30s']);
      await waitFor(async () => (await instance.kubectl(['get', 'ctr/store-2'])).code === 0);
      await ready('store-2');
      assert.equal(await read(), first);
      await instance.kubectlOk(['delete', service, '--timeout=30s']);
      const volumes = await instance.kubectlOk(['get', 'vol', '-o', 'jsonpath={.items[*].metadata.name}']);
      assert.equal(volumes, 'letters-store-1 letters-store-2');
      await instance.kubectlOk(['delete', 'vol', 'letters-store-1', 'letters-store-2', '--timeout=60s'], {
        timeoutMs: 70_000,
      });
    },
  },
  'stop.yaml': {
    async check({ instance, ready }) {
      await ready('polite', 'stubborn');
      const secondsToDelete = async (name: string): Promise<number> => {
        const start = performance.now();
        await instance.kubectlOk(['delete', 'ctr', name, '--timeout=40s']);
        return (performance.now() - start) / 1000;
      };
      const polite = await secondsToDelete('polite');
      assert.ok(polite < 15, `polite took ${polite} s of its 30`);
      const stubborn = await secondsToDelete('stubborn');
      assert.ok(stubborn >= 2.9, `stubborn was given ${stubborn} s of 3`);
    },
  },
};

test('examples', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  await using instance = await startInstance({ sandboxPool: 0, env: SHORT_TIMES });
  await importBusybox(instance);
  const [identity, written] = [describeInstance(instance.home, instance.run), [8081, 8082, 8083, 8084, 8085, 8086]];
  const free = await freePorts(written.length);
  const port = (wanted: number): number => free[written.indexOf(wanted)] ?? wanted;
  const context: Context = {
    instance,
    port,
    async ready(...names) {
      const objects = names.map((name) => `ctr/${name}`);
      await instance.kubectlOk(['wait', '--for=condition=Ready', ...objects, '--timeout=30s']);
    },
    exec: (name, ...command) => instance.kubectlOk(['exec', name, '--', ...command]),
    ends: (name, phase, reason) =>
      waitForStatus(instance, name, (status) => status.phase === phase && readyOf(status)?.reason === reason),
  };
  // What the first container makes for all of them (cgroups, the bridge) is no left-over.
  await runToEnd(instance, 'first', { command: ['true'] });
  await deleteContainers(instance, 'first');
  const files = readdirSync(FOLDER).filter((name) => name.endsWith('.yaml'));
  assert.deepEqual(files.toSorted(), Object.keys(EXAMPLES).toSorted(), 'every example has its test');
  const readme = readFileSync(new URL('README.md', FOLDER), 'utf8');
  assert.deepEqual(
    files.filter((name) => !readme.includes(`](${name})`)),
    [],
    'every example is in the README',
  );
  const leftOvers = (): object => {
    const { mounts, cgroups, processes, networkNamespaces, links } = takeHostSnapshot(identity);
    const folders = [paths.volumes(identity), paths.podLogs(identity)].flatMap((folder) => listFolder(folder));
    // The bridge of network `default` stays once it was needed, and so does the folder that the builder works in.
    const builds = join(identity.run, 'shim', 'builds');
    const passing = mounts.filter((mount) => !new RegExp(` ${builds}(/sealed/|$)`).test(mount));
    return {
      mounts: passing,
      cgroups,
      processes,
      networkNamespaces,
      folders,
      veths: links.filter((name) => /-v/.test(name)),
    };
  };

  for (const [name, { prepare, check }] of Object.entries(EXAMPLES)) {
    await t.test(name, async (step) => {
      if (name === 'image.yaml' && !requirePrograms(step, 'docker-registry')) return;
      if (name === 'build.yaml' && !(await canBuild(instance))) return step.skip('the runtime does not build images');
      const before = leftOvers();
      let text = readFileSync(new URL(name, FOLDER), 'utf8').replaceAll(/\b808[1-6]\b/g, (found) =>
        String(port(Number(found))),
      );
      text = (await prepare?.(text)) ?? text;
      await using registry = name === 'image.yaml' ? await startTestRegistry() : undefined;
      if (registry) {
        await registry.push(makeBusyboxImage({ Cmd: ['sleep', '3600'], StopSignal: 'SIGKILL' }), 'team/app', '1.0');
        text = text.replaceAll('registry.example.org', registry.host);
        const login = ['--docker-username=me', '--docker-password=secret', `--docker-server=${registry.host}`];
        await instance.kubectlOk(['create', 'secret', 'docker-registry', 'my-registry', ...login]);
      }
      try {
        await instance.apply(text);
        await check(context);
      } finally {
        await instance.kubectl(['delete', '-f', '-', '--ignore-not-found', '--timeout=60s'], { input: text });
      }
      const kinds = 'containers.windlass.dev,volumes.windlass.dev,services.windlass.dev';
      // What a Service owns goes after it, in the background.
      await waitFor(async () => (await instance.kubectlOk(['get', kinds, '-o', 'name'])) === '', {
        timeoutMs: 30_000,
        what: 'the end of everything that was applied',
      });
      let after = leftOvers();
      await waitFor(() => JSON.stringify((after = leftOvers())) === JSON.stringify(before), { timeoutMs: 5000 }).catch(
        () => assert.deepEqual(after, before, 'something was left on the host'),
      );
    });
  }
});

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch {
    return [];
  }
}

const bodyOf = (url: string): Promise<string | undefined> =>
  fetch(url, { headers: { connection: 'close' } }).then(
    async (response) => (await response.text()).trim(),
    () => undefined,
  );

async function answers(url: string, body: string): Promise<void> {
  await waitFor(async () => (await bodyOf(url)) === body, { what: `${body} from ${url}` });
}

const readyReplicas = (instance: TestInstance): Promise<string> =>
  instance.kubectlOk(['get', 'services.windlass.dev/shop', '-o', 'jsonpath={.status.readyReplicas}']);
