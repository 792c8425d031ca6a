import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toFrontend } from '../../../../../apiserver/resources/builtin/service-frontend.ts';
import { checkDependencies } from '../../../../../controllers/node-agent/container/dependencies.ts';
import type { Container } from '../../../../../crds/container.ts';
import type { Service } from '../../../../../crds/service.ts';
import { makeService } from '../../../../support/objects.ts';
import { makeContainer } from '../make.ts';

const on = (name: string, condition: string, kind = 'Container') => ({ kind, name, condition });
const make = (name: string, dependsOn: object[], status?: Container['status']): Container =>
  makeContainer({ dependsOn }, { metadata: { name }, ...(status ? { status } : {}) });

function listerOf<T extends { metadata: { name: string } }>(objects: readonly T[]) {
  return {
    get: (_: string, name: string) => objects.find(({ metadata }) => metadata.name === name),
    list: () => objects,
  };
}

const check = (...containers: [Container, ...Container[]]): string => checkWith([], ...containers);

function checkWith(services: readonly Service[], ...containers: [Container, ...Container[]]): string {
  const cluster = { containers: listerOf(containers), services: listerOf(services.map(toFrontend)) };
  const need = checkDependencies(cluster, containers[0]);
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

/** A Container of `service` on another node. */
function replica(service: Service, dependsOn: object[], status?: Container['status']): Container {
  const { name, uid = '' } = service.metadata;
  const ownerReferences = [{ apiVersion: 'windlass.dev/v1', kind: 'Service', name, uid, controller: true }];
  const metadata = { name: `${name}-1`, ownerReferences };
  return makeContainer({ dependsOn, nodeName: 'elsewhere' }, { metadata, ...(status ? { status } : {}) });
}
const condition = (type: string, message = '') => ({
  type,
  status: 'True' as const,
  reason: type,
  message,
  lastTransitionTime: '2026-01-01T00:00:00Z',
});

test('checkDependencies() looks at a Service and its Containers on whatever node', () => {
  const started = make('app', [on('db', 'Started', 'Service')]);
  const healthy = make('app', [on('db', 'Healthy', 'Service')]);
  const db = makeService('db', { replicas: 2 });
  assert.equal(checkWith([], started), 'DependencyNotFound: service "db" not found');
  assert.equal(checkWith([db], started), 'WaitingForDependency: service "db" is not Started yet');
  const running = replica(db, [], { phase: 'Running' });
  assert.equal(checkWith([db], started, running), 'Ready');
  assert.equal(checkWith([db], healthy, running), 'WaitingForDependency: service "db" is not Healthy yet');
  const half: Service = { ...db, status: { readyReplicas: 1 } };
  assert.equal(checkWith([half], started), 'Ready');
  assert.equal(checkWith([half], healthy), 'WaitingForDependency: service "db" is not Healthy yet');
  const ready: Service = { ...db, status: { readyReplicas: 2, conditions: [condition('Ready')] } };
  assert.equal(checkWith([ready], healthy), 'Ready');
});

test('checkDependencies() waits for a Job to complete, and says when it has failed', () => {
  const app = make('app', [on('init', 'Completed', 'Service')]);
  const job = makeService('init', { mode: 'Job' });
  assert.equal(checkWith([job], app), 'WaitingForDependency: service "init" is not Completed yet');
  assert.equal(checkWith([{ ...job, status: { conditions: [condition('Ready')] } }], app), 'Ready');
  const failed: Service = { ...job, status: { conditions: [condition('Failed', '0 of 1 completed, 7 failed')] } };
  assert.equal(checkWith([failed], app), 'DependencyFailed: service "init" failed: 0 of 1 completed, 7 failed');
});

test('checkDependencies() names a circle of Services', () => {
  const a = makeService('a', { template: { dependsOn: [{ kind: 'Service', name: 'b' }] } });
  const b = makeService('b', { template: { dependsOn: [{ kind: 'Service', name: 'a' }] } });
  const child = replica(a, [on('b', 'Healthy', 'Service')]);
  assert.equal(checkWith([a, b], child), 'DependencyCycle: dependsOn goes in a circle: a -> b -> a');
});
