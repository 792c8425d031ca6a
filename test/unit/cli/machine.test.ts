import assert from 'node:assert/strict';
import test from 'node:test';
import { planComponents, type Component } from '../../../cli/components.ts';
import { stopStages } from '../../../cli/machine.ts';
import { upOptions } from '../../../cli/options.ts';
import { describeInstance } from '../../../lib/instance.ts';

const instance = describeInstance('/srv/w', '/run/w');
const plan = (flags: object, embedded = true): Component[] =>
  planComponents(
    instance,
    upOptions.parse({ home: instance.home, run: instance.run, ...flags }),
    embedded
      ? { ports: { client: 1, peer: 2, metrics: 3 }, name: 'a:1', peerUrl: 'https://a:2', peerListen: '10.0.0.1:2' }
      : undefined,
  );

test('stopStages() stops what nothing running needs first, etcd last', () => {
  assert.deepEqual(stopStages(plan({})), [
    ['controllers', 'registry', 'node-agent'],
    ['apiserver', 'runtime-shim'],
    ['etcd'],
  ]);
});

test('planComponents() leaves etcd out when outside servers are given', () => {
  const components = plan({ etcdServers: 'http://10.0.0.1:2379' }, false);
  const apiserver = components.find(({ name }) => name === 'apiserver');
  assert.equal(
    components.some(({ name }) => name === 'etcd'),
    false,
  );
  const { args = [] } = apiserver ?? {};
  assert.equal(args[args.indexOf('--etcd-servers') + 1], 'http://10.0.0.1:2379');
});

test('planComponents() gives each process its own metrics port when one is asked for', () => {
  const ports = plan({ metricsListen: '127.0.0.1:9100' }).flatMap(({ args }) => {
    const index = args.indexOf('--metrics-listen');
    return index < 0 ? [] : [args[index + 1]];
  });
  assert.deepEqual(ports, ['127.0.0.1:9101', '127.0.0.1:9103', '127.0.0.1:9100', '127.0.0.1:9102']);
});

test('planComponents() starts no runtime of its own where another is named', () => {
  const components = plan({ criSocket: '/run/containerd/containerd.sock' });
  const agent = components.find(({ name }) => name === 'node-agent');
  assert.equal(
    components.some(({ name }) => name === 'runtime-shim'),
    false,
  );
  assert.deepEqual(agent?.needs, ['apiserver']);
  assert.deepEqual(agent?.args.slice(-2), ['--cri-socket', '/run/containerd/containerd.sock']);
});
