import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import fastify from 'fastify';
import { createFlowControl } from '../../../../apiserver/flowcontrol/flow-control.ts';
import { registerApiRoutes, type ApiRouteOptions } from '../../../../apiserver/routes/api.ts';
import { jsonAnswer } from '../../../../apiserver/routes/call.ts';
import { systemClock } from '../../../../lib/clock.ts';
import { silentLogger } from '../../../../lib/log.ts';
import { Registry } from '../../../../lib/metrics.ts';
import { waitFor } from '../../../support/wait.ts';

test('a write over HTTP/1.1 that finds no seat waits for one, and is done then', async (t) => {
  const metrics = new Registry();
  const gate = Promise.withResolvers<void>();
  const options = {
    authenticator: { authenticate: () => ({ name: 'admin', groups: ['system:masters'] }) },
    dispatcher: {
      verbOf: () => 'create',
      isServed: () => true,
      dispatch: () => gate.promise.then(() => jsonAnswer(201, {})),
    },
    metrics: { start: () => () => undefined },
    flowControl: createFlowControl(metrics),
    log: silentLogger(),
    clock: systemClock,
    stopping: new AbortController().signal,
  } as unknown as ApiRouteOptions;
  const app = fastify();
  t.after(async () => {
    gate.resolve();
    await app.close();
  });
  registerApiRoutes(app, options);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const post = async (): Promise<number> => {
    const url = `http://127.0.0.1:${port}/api/v1/namespaces/default/configmaps`;
    const { status, body } = await fetch(url, { method: 'POST', body: '{}' });
    await body?.cancel();
    return status;
  };
  const answers = Promise.all(Array.from({ length: 25 }, post));
  const waiting = /current_inqueue_requests\{.*level="global-default".*\} 5$/m;
  await waitFor(async () => waiting.test(await metrics.metrics()), { what: 'five requests beyond the seats' });
  gate.resolve();
  assert.deepEqual(
    await answers,
    Array.from({ length: 25 }, () => 201),
  );
});
