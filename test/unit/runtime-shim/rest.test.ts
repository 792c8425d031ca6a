import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRest } from '../../../runtime-shim/rest.ts';
import { waitFor } from '../../support/wait.ts';

test('createRest() gives back once after the start and once after each stretch of work', async () => {
  const stop = new AbortController();
  let times = 0;
  const rest = createRest(async () => void (times += 1), { warn: () => undefined }, 5);
  const running = rest.part.run(stop.signal);
  await waitFor(() => times === 1, { what: 'the first rest' });
  // Questions are no work.
  rest.noteCall('RuntimeService/ListContainers');
  rest.noteCall('RuntimeService/ContainerStatus');
  for (const method of ['RunPodSandbox', 'CreateContainer', 'StartContainer'])
    rest.noteCall(`RuntimeService/${method}`);
  await waitFor(() => times === 2, { what: 'the second rest' });
  stop.abort();
  await running;
  assert.equal(times, 2);
});

test('createRest() goes on when giving back has failed', async () => {
  const stop = new AbortController();
  let times = 0;
  const warnings: unknown[] = [];
  const fail = async (): Promise<void> => {
    times += 1;
    throw new Error('no memory to be had');
  };
  const rest = createRest(fail, { warn: (fields: unknown) => void warnings.push(fields) }, 1);
  const running = rest.part.run(stop.signal);
  await waitFor(() => times === 1, { what: 'the first rest' });
  rest.noteCall('RuntimeService/RemoveContainer');
  await waitFor(() => times === 2, { what: 'the second rest' });
  stop.abort();
  await running;
  assert.equal(warnings.length, 2);
});
