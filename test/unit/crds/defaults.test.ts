import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { withoutDefaults } from '../../../crds/defaults.ts';
import { toOpenApi } from '../../../crds/open-api.ts';
import { ServiceSpec } from '../../../crds/service.ts';

const Probe = z.object({ path: z.string().default('/'), port: z.int() });
const Now = z.object({
  name: z.string(),
  count: z.int().default(1),
  probe: Probe.optional(),
  strategy: z.object({ order: z.string().default('StopFirst'), delay: z.int().default(0) }).prefault({}),
  mounts: z.array(z.object({ path: z.string(), readOnly: z.boolean().default(false) })).optional(),
  labels: z.record(z.string(), z.string()).optional(),
});
/** The same with what a later version might add. */
const Later = Now.extend({
  probe: Probe.extend({ scheme: z.string().default('HTTP') }).optional(),
  mounts: z
    .array(z.object({ path: z.string(), readOnly: z.boolean().default(false), mode: z.int().default(420) }))
    .optional(),
  limits: z.object({ pids: z.int().default(100) }).prefault({}),
});

test('withoutDefaults() leaves what was written, and a default that comes later changes nothing', () => {
  const written = { name: 'a', probe: { port: 80 }, mounts: [{ path: '/x' }], labels: { count: '1' } };
  const now = withoutDefaults(toOpenApi(Now), Now.parse(written));
  assert.deepEqual(now, written);
  assert.deepEqual(withoutDefaults(toOpenApi(Later), Later.parse(Now.parse(written))), now);
});

test('withoutDefaults() keeps all that is not a default, also what the schema does not know', () => {
  const written = { name: 'a', count: 2, strategy: { delay: 5 }, mounts: [{ path: '/x', readOnly: true }], more: [1] };
  assert.deepEqual(withoutDefaults(toOpenApi(Now), { ...Now.parse(written), more: [1] }), written);
  assert.deepEqual(withoutDefaults(toOpenApi(Now), { name: 'a', count: 1, probe: undefined }), { name: 'a' });
});

test('withoutDefaults() of a Service as it is stored is the manifest', () => {
  const written = {
    replicas: 3,
    template: { spec: { image: 'web', restartPolicy: 'OnFailure', healthCheck: { tcpSocket: { port: 80 } } } },
    ports: [{ port: 80, publishedPort: 8080 }],
  };
  assert.deepEqual(withoutDefaults(toOpenApi(ServiceSpec), ServiceSpec.parse(written)), written);
});
