// Updates and Global Services with the real kubectl, the real API server and controllers; the nodes are pretended.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { installPods } from '../../../apiserver/pods/install.ts';
import { containerKind } from '../../../crds/container.ts';
import { startTestApiserver } from '../../support/apiserver.ts';
import { startTestControllers } from '../../support/controllers.ts';
import { startPretendAgent } from '../../support/pretend-agent.ts';
import { requirePrograms } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const WEB = {
  apiVersion: 'windlass.dev/v1',
  kind: 'Service',
  metadata: { name: 'web' },
  spec: {
    replicas: 3,
    updateStrategy: { monitorSeconds: 1 },
    template: { spec: { image: 'one' } },
  },
};
const LOGS = {
  apiVersion: 'windlass.dev/v1',
  kind: 'Service',
  metadata: { name: 'logs' },
  spec: { mode: 'Global', updateStrategy: { monitorSeconds: 0 }, template: { spec: { image: 'one' } } },
};

test('updates and Global Services', async (t) => {
  if (!requirePrograms(t, 'etcd', 'kubectl')) return;
  await using api = await startTestApiserver({
    prepare: (server) => installPods(server, { cert: '', key: '', ca: '' }),
  });
  await using controllers = startTestControllers(api.kubeconfig, ['--node-monitor-grace-seconds', '300']);
  await using first = await startPretendAgent(api.kubeconfig, 'n1');
  await using second = await startPretendAgent(api.kubeconfig, 'n2');
  void controllers;
  void second;
  const containers = first.client.kind(containerKind);

  const env = { PATH: process.env['PATH'], HOME: api.folder, KUBECONFIG: api.kubeconfig };
  const kubectl = (args: readonly string[], input = ''): Promise<{ code: number; output: string }> =>
    new Promise((resolve) => {
      const child = execFile('kubectl', args, { env, timeout: 60_000, cwd: api.folder }, (error, out, err) => {
        resolve({ code: error ? Number(error.code ?? 1) : 0, output: out + err });
      });
      child.stdin?.end(input);
    });
  const ok = async (args: readonly string[], input?: string): Promise<string> => {
    const { code, output } = await kubectl(args, input);
    assert.equal(code, 0, `kubectl ${args.join(' ')}: ${output}`);
    return output;
  };
  const apply = (object: object): Promise<string> => ok(['apply', '-f', '-'], JSON.stringify(object));
  const patch = (name: string, spec: object): Promise<string> =>
    ok(['patch', `services.windlass.dev/${name}`, '--type=merge', '-p', JSON.stringify({ spec })]);
  const image = (name: string): object => ({ template: { spec: { image: name } } });
  const waitUntil = (condition: string, name = 'web'): Promise<string> =>
    ok(['wait', `--for=condition=${condition}`, `services.windlass.dev/${name}`, '--timeout=40s']);
  const get = async (path: string, name = 'web'): Promise<string> =>
    ok(['get', `services.windlass.dev/${name}`, '-o', `jsonpath={.status.${path}}`]);
  const told = (type: string, name = 'web'): Promise<string> =>
    get(`conditions[?(@.type=="${type}")]['reason','message']`, name);
  /** `web-1 one` for each Container that is to stay. */
  const children = async (name = 'web'): Promise<string[]> =>
    (await containers.list({ namespace: 'default', labelSelector: `windlass.dev/service=${name}` })).items
      .filter(({ metadata }) => !metadata.deletionTimestamp)
      .map(({ metadata, spec }) => `${metadata.name} ${spec.image}`)
      .toSorted();
  const become = (name: string, wanted: readonly string[]): Promise<unknown> =>
    waitFor(async () => String(await children(name)) === String(wanted), {
      what: `${name} with ${wanted.join(', ')}`,
      timeoutMs: 40_000,
      intervalMs: 100,
    });

  await t.test('an update replaces one slot after the other, and kubectl waits for it', async () => {
    await apply(WEB);
    await waitUntil('Updated');
    await patch('web', image('two'));
    await waitUntil('Updated');
    assert.deepEqual(await children(), ['web-1 two', 'web-2 two', 'web-3 two']);
    assert.equal(await get('revisions[*].revision'), '1 2');
    assert.match(await told('Updated'), /^Complete revision 2 is complete$/);
  });

  await t.test('a template that fails pauses the update, and what is empty gets the old one', async () => {
    await patch('web', image('crashes'));
    await waitUntil('Progressing=False');
    assert.match(
      await told('Progressing'),
      /^UpdatePaused revision 3: 0 of 3 updated, paused: web-1 \(BackOff\) failed$/,
    );
    assert.deepEqual(await children(), ['web-1 crashes', 'web-2 two', 'web-3 two']);
    await ok(['scale', 'services.windlass.dev/web', '--replicas=4']);
    await become('web', ['web-1 crashes', 'web-2 two', 'web-3 two', 'web-4 two']);
    // Where a successor has the name within milliseconds, as here, kubectl can take it for the one whose end it waits for.
    await ok(['delete', 'ctr', 'web-3', '--wait=false']);
    await become('web', ['web-1 crashes', 'web-2 two', 'web-3 two', 'web-4 two']);
    assert.match(await told('Progressing'), /^UpdatePaused /);
    await waitFor(async () => /UpdatePaused/.test(await ok(['get', 'events'])), { what: 'the Event' });
  });

  await t.test('a template that fails is rolled back', async () => {
    await patch('web', { updateStrategy: { failureAction: 'Rollback' } });
    await waitFor(async () => (await get('update.phase')) === 'RolledBack', { timeoutMs: 40_000, intervalMs: 100 });
    assert.deepEqual(await children(), ['web-1 two', 'web-2 two', 'web-3 two', 'web-4 two']);
    assert.match(await told('Updated'), /^RolledBack back at revision 2; revision 3: web-1 \(BackOff\) failed$/);
    assert.equal(
      (await kubectl(['wait', '--for=condition=Updated', 'services.windlass.dev/web', '--timeout=1s'])).code,
      1,
    );
  });

  await t.test(
    'rollbackTo counts while it is set; a revision that is not there is refused in a condition',
    async () => {
      await patch('web', { replicas: 2, rollbackTo: 1 });
      await waitUntil('Updated');
      assert.deepEqual(await children(), ['web-1 one', 'web-2 one']);
      await patch('web', { rollbackTo: 99 });
      await waitUntil('Progressing=False');
      assert.equal(
        await told('Progressing'),
        'RevisionNotFound spec.rollbackTo: there is no revision 99, only 1, 2, 3',
      );
      assert.deepEqual(await children(), ['web-1 one', 'web-2 one']);
      await patch('web', { rollbackTo: null, ...image('two') });
      await waitUntil('Updated');
      assert.deepEqual(await children(), ['web-1 two', 'web-2 two']);
    },
  );

  await t.test('ten updates in the middle of each other end with the last one', async () => {
    await patch('web', { updateStrategy: { order: 'StartFirst' } });
    for (let round = 1; round <= 10; round += 1) {
      await patch('web', image(`version-${round}`));
      const slots = (await containers.list({ namespace: 'default', labelSelector: 'windlass.dev/service=web' })).items;
      const bySlot = Object.groupBy(slots, ({ metadata }) => metadata.labels?.['windlass.dev/slot'] ?? '');
      for (const inSlot of Object.values(bySlot)) assert.ok((inSlot?.length ?? 0) <= 2);
    }
    await waitUntil('Updated');
    const images = (await children()).map((line) => line.split(' ')[1]);
    assert.deepEqual(images, ['version-10', 'version-10']);
  });

  await t.test('numbers that cannot be meant are refused', async () => {
    const refused = async (spec: object, message: RegExp): Promise<void> => {
      const { code, output } = await kubectl([
        ...['patch', 'services.windlass.dev/web', '--type=merge'],
        ...['-p', JSON.stringify({ spec })],
      ]);
      assert.equal(code, 1);
      assert.match(output, message);
    };
    await refused({ replicas: -1 }, /spec\.replicas: Invalid value: -1/);
    await refused({ replicas: 100_000 }, /spec\.replicas: Invalid value: 100000: .*less than or equal to 50000/);
    const scale = await kubectl(['scale', 'services.windlass.dev/web', '--replicas=100000']);
    assert.match(scale.output, /less than or equal to 50000/);
    await ok(['delete', 'services.windlass.dev/web']);
  });

  await t.test('a Global Service has one Container on each node, also on one that joins or is cordoned', async () => {
    await apply(LOGS);
    await waitUntil('Ready', 'logs');
    assert.deepEqual(await children('logs'), ['logs-n1 one', 'logs-n2 one']);
    const nodes = await ok(['get', 'ctr', '-o', 'jsonpath={.items[*].spec.nodeName}']);
    assert.equal(nodes, 'n1 n2');
    await ok(['cordon', 'n1']);
    await patch('logs', image('two'));
    await become('logs', ['logs-n1 two', 'logs-n2 two']);
    await ok(['uncordon', 'n1']);
    {
      await using third = await startPretendAgent(api.kubeconfig, 'n3');
      void third;
      await become('logs', ['logs-n1 two', 'logs-n2 two', 'logs-n3 two']);
    }
    await ok(['delete', 'node', 'n3']);
    await become('logs', ['logs-n1 two', 'logs-n2 two']);
    assert.match(await ok(['get', 'services.windlass.dev/logs']), /logs +Global +2 +2 +2/);
  });

  await t.test(
    'a Global Service leaves a node with a taint that it does not tolerate, and stays on one that is drained',
    async () => {
      const owner = await ok(['get', 'pods', 'logs-n1', '-o', 'jsonpath={.metadata.ownerReferences[0].kind}']);
      assert.equal(owner, 'DaemonSet');
      assert.match((await kubectl(['drain', 'n1'])).output, /DaemonSet-managed Pods/);
      await ok(['drain', 'n1', '--ignore-daemonsets', '--timeout=20s']);
      assert.deepEqual(await children('logs'), ['logs-n1 two', 'logs-n2 two']);
      await ok(['uncordon', 'n1']);
      assert.match(await ok(['rollout', 'status', 'ds/logs', '--timeout=20s']), /successfully rolled out/);
      await ok(['taint', 'node', 'n1', 'dedicated=db:NoExecute']);
      await become('logs', ['logs-n2 two']);
      await ok(['taint', 'node', 'n1', 'dedicated-']);
      await become('logs', ['logs-n1 two', 'logs-n2 two']);
    },
  );

  await t.test('a Global Service has no replicas to choose', async () => {
    const scale = await kubectl(['scale', 'services.windlass.dev/logs', '--replicas=3']);
    assert.equal(scale.code, 1);
    assert.match(scale.output, /spec\.replicas: Invalid value: .*must be left out with mode Global/);
    const applied = await kubectl(
      ['apply', '-f', '-'],
      JSON.stringify({ ...LOGS, metadata: { name: 'more' }, spec: { ...LOGS.spec, replicas: 3 } }),
    );
    assert.match(applied.output, /must be left out with mode Global/);
    await ok(['delete', 'services.windlass.dev/logs']);
    await become('logs', []);
  });
});
