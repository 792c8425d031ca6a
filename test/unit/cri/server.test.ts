import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCriClient } from '../../../cri/client.ts';
import { requireField } from '../../../cri/presence.ts';
import { isAbort, REASONS, reasonOf, WindlassError } from '../../../lib/errors.ts';
import { connectCri } from '../../support/cri-server.ts';

test('createCriServer() passes messages both ways with defaults filled in', async (t) => {
  const client = await connectCri(t, {
    runtime: {
      runPodSandbox: async (request) => {
        assert.deepEqual(request.config?.metadata, { name: 'a', uid: 'u', namespace: 'ns', attempt: 3 });
        assert.deepEqual(request.config?.portMappings, []);
        assert.equal(request.config?.dnsConfig, null);
        return { podSandboxId: `sandbox-${request.config?.labels['app']}` };
      },
    },
  });
  const answer = await client.runtime.runPodSandbox({
    config: { metadata: { name: 'a', uid: 'u', namespace: 'ns', attempt: 3 }, labels: { app: 'web' } },
  });
  assert.deepEqual(answer, { podSandboxId: 'sandbox-web' });
});

test('createCriServer() names a call that has no handler', async (t) => {
  const client = await connectCri(t, {});
  await assert.rejects(client.runtime.version({}), (error: Error) => {
    assert.equal(reasonOf(error), 'Unimplemented');
    assert.match(error.message, /RuntimeService\.Version/);
    return true;
  });
});

test('errors keep their reason and message across the socket', async (t) => {
  let reason: (typeof REASONS)[number] = 'Internal';
  const client = await connectCri(t, {
    runtime: {
      startContainer: async () => {
        throw new WindlassError(reason, `it was ${reason}`);
      },
    },
  });
  for (reason of REASONS) {
    await assert.rejects(client.runtime.startContainer({ containerId: 'x' }), { message: `it was ${reason}`, reason });
  }
});

test('the caller deadline reaches the handler as an abort and the caller as Timeout', async (t) => {
  let started = false;
  let aborted = false;
  const client = await connectCri(t, {
    images: {
      pullImage: async (_request, { signal }) => {
        started = true;
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        aborted = true;
        throw signal.reason as Error;
      },
    },
  });
  // On a busy machine the time may be up before the call has come across.
  for (let timeoutMs = 30; !started; timeoutMs *= 2)
    await assert.rejects(client.images.pullImage({}, { timeoutMs }), { reason: 'Timeout' });
  while (!aborted) await new Promise((resolve) => setImmediate(resolve));
});

test('a stream cut off by its deadline ends in Timeout, never as if it were complete', async (t) => {
  const client = await connectCri(t, {
    runtime: {
      async *streamContainers(_request, { signal }) {
        yield { containers: [{ id: 'first' }] };
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      },
    },
  });
  const seen: string[] = [];
  const read = async (timeoutMs: number): Promise<void> => {
    for await (const { containers } of client.runtime.streamContainers({}, { timeoutMs })) {
      seen.push(...containers.map(({ id }) => id));
    }
  };
  for (let timeoutMs = 50; seen.length === 0; timeoutMs *= 2)
    await assert.rejects(read(timeoutMs), { reason: 'Timeout' });
  assert.deepEqual(seen, ['first']);
});

test('fields that are only there to be refused reach the handler', async (t) => {
  const client = await connectCri(t, {
    runtime: {
      createContainer: async ({ config }) => ({ containerId: JSON.stringify([config?.windows, config?.CDIDevices]) }),
    },
  });
  const asked = await client.runtime.createContainer({ config: { windows: {}, CDIDevices: [{ name: 'a/b=c' }] } });
  assert.deepEqual(JSON.parse(asked.containerId), [{ resources: null, securityContext: null }, [{ name: 'a/b=c' }]]);
});

test('streams deliver in order and end the handler when the reader leaves', async (t) => {
  let ended = false;
  const client = await connectCri(t, {
    node: {
      async *pullImageProgress(_request, { signal }) {
        try {
          for (let completedBytes = 0; !signal.aborted; completedBytes += 1) {
            yield { phase: 'Pulling', completedBytes };
            await new Promise((resolve) => setImmediate(resolve));
          }
        } finally {
          ended = true;
        }
      },
    },
  });
  const seen: number[] = [];
  for await (const message of client.node.pullImageProgress({ reference: 'a' })) {
    seen.push(message.completedBytes);
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen, [0, 1, 2]);
  while (!ended) await new Promise((resolve) => setImmediate(resolve));
});

test('an aborted call rejects with an AbortError, a missing server with Unavailable', async (t) => {
  const client = await connectCri(t, { runtime: { version: () => new Promise(() => undefined) } });
  const stop = new AbortController();
  const call = client.runtime.version({}, { signal: stop.signal });
  setImmediate(() => stop.abort());
  await assert.rejects(call, isAbort);
  const nobody = createCriClient({ socketPath: '/nonexistent/cri.sock' });
  t.after(() => nobody[Symbol.dispose]());
  await assert.rejects(nobody.runtime.version({}), { reason: 'Unavailable' });
});

test('requireField() names what is missing', () => {
  assert.equal(requireField(0, 'a'), 0);
  for (const value of ['', null, undefined]) {
    assert.throws(() => requireField(value, 'config.metadata'), { reason: 'Invalid', message: /^config\.metadata/ });
  }
});

test('a stream whose reader is often behind keeps no listener for each wait', async (t) => {
  const warnings: string[] = [];
  const onWarning = ({ name }: Error): void => void warnings.push(name);
  process.on('warning', onWarning);
  t.after(() => process.off('warning', onWarning));
  const containerId = 'x'.repeat(200_000);
  const client = await connectCri(t, {
    runtime: {
      async *getContainerEvents() {
        for (let index = 0; index < 30; index += 1) yield { containerId };
      },
    },
  });
  let count = 0;
  for await (const event of client.runtime.getContainerEvents({})) count += Number(event.containerId === containerId);
  assert.equal(count, 30);
  assert.deepEqual(warnings, []);
});
