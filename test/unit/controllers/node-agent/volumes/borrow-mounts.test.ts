import assert from 'node:assert/strict';
import { test } from 'node:test';
import { specHash } from '../../../../../controllers/node-agent/container/spec-hash.ts';
import { borrowMounts } from '../../../../../controllers/node-agent/volumes/borrow-mounts.ts';
import { anonymousVolumeName } from '../../../../../controllers/node-agent/volumes/volume-paths.ts';
import type { Container } from '../../../../../crds/container.ts';
import { makeContainer } from '../make.ts';

const SPEC = { volumesFrom: [{ container: 'db' }], mounts: [{ mountPath: '/own', volume: 'own' }] };
const mount = (mountPath: string, name: string) => ({
  ...{ mountPath, name, type: 'Volume' as const, source: `/volumes/${name}`, readOnly: false },
});

function borrow(container: Container, lender?: Container): string[] {
  return borrowMounts({ get: () => lender }, container, '/volumes').map((need) =>
    need.state === 'Ready' ? `${need.mount?.containerPath} from ${need.mount?.hostPath}` : need.message,
  );
}

test('borrowMounts() takes what the other mounts, except where the Container mounts something itself', () => {
  const db = makeContainer({}, { status: { mounts: [mount('/data', 'data'), mount('/own', 'other')] } });
  assert.deepEqual(borrow(makeContainer(SPEC), db), ['/data from /volumes/data']);
  assert.deepEqual(borrow(makeContainer(SPEC), makeContainer()), ['container "db" has not mounted its volumes yet']);
});

test('borrowMounts() goes on with the volumes of the run before when their lender is gone', () => {
  assert.deepEqual(borrow(makeContainer(SPEC)), ['container "db", whose volumes web is to use, not found']);
  const own = anonymousVolumeName('web', 'u1', '/cache');
  const status = {
    specHash: specHash(makeContainer(SPEC).spec),
    mounts: [mount('/own', 'own'), mount('/cache', own), mount('/data', 'data')],
  };
  assert.deepEqual(borrow(makeContainer(SPEC, { status })), ['/data from /volumes/data']);
  const changed = makeContainer({ ...SPEC, env: [{ name: 'A', value: '1' }] }, { status });
  assert.deepEqual(borrow(changed), ['container "db", whose volumes web is to use, not found']);
});
