import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDependencies } from '../../../../../controllers/node-agent/container/dependencies.ts';
import type { Container } from '../../../../../crds/container.ts';
import { makeContainer } from '../make.ts';

const on = (name: string, condition: string) => ({ kind: 'Container', name, condition });
const make = (name: string, dependsOn: object[], status?: Container['status']): Container =>
  makeContainer({ dependsOn }, { metadata: { name }, ...(status ? { status } : {}) });

function check(...containers: [Container, ...Container[]]): string {
  const byName = new Map(containers.map((container) => [container.metadata.name, container]));
  const lister = { get: (_: string, name: string) => byName.get(name), list: () => containers };
  const need = checkDependencies(
    { containers: lister, services: { get: () => undefined, list: () => [] } },
    containers[0],
  );
  return need.state === 'Ready' ? 'Ready' : `${need.reason}: ${need.message}`;
}

test('checkDependencies() waits for each object to come as far as asked', () => {
  const app = make('app', [on('db', 'Started')]);
  assert.equal(check(app), 'DependencyNotFound: container "db" not found');
  assert.equal(check(app, make('db', [])), 'WaitingForDependency: container "db" is not Started yet');
  assert.equal(check(app, make('db', [], { phase: 'Running' })), 'Ready');
});

test('checkDependencies() says how a dependency that was to complete has failed', () => {
  const app = make('app', [on('job', 'Completed')]);
  const failed = make('job', [], { phase: 'Failed', exitCode: 3 });
  assert.equal(check(app, failed), 'DependencyFailed: container "job" failed with exit code 3');
});

test('checkDependencies() names a circle', () => {
  const a = make('a', [on('b', 'Started')]);
  const b = make('b', [on('x', 'Started'), on('c', 'Started')]);
  const c = make('c', [on('a', 'Healthy')]);
  assert.equal(check(a, b, c), 'DependencyCycle: dependsOn goes in a circle: a -> b -> c -> a');
  assert.equal(
    check(make('self', [on('self', 'Started')])),
    'DependencyCycle: dependsOn goes in a circle: self -> self',
  );
  // Somebody else's circle is not this one's.
  const loop = [make('p', [on('q', 'Started')]), make('q', [on('p', 'Started')])] as const;
  assert.equal(
    check(make('app', [on('p', 'Started')]), ...loop),
    'WaitingForDependency: container "p" is not Started yet',
  );
});
