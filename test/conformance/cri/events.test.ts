import assert from 'node:assert/strict';
import type { ContainerEvent } from '../../../cri/stats-messages.ts';
import { criSuite } from '../../support/cri-suite.ts';
import { waitFor } from '../../support/wait.ts';

const suite = criSuite();

/** Reads events of sandboxes in namespace `test` until `stop`; the stream is open when this returns. */
async function watchEvents(): Promise<{ events: ContainerEvent[]; stop(): Promise<void> }> {
  const events: ContainerEvent[] = [];
  const abort = new AbortController();
  const reading = (async () => {
    for await (const event of suite.shim.cri.runtime.getContainerEvents({}, { signal: abort.signal })) {
      events.push(event);
    }
  })().catch(() => undefined);
  const probe = suite.freshName();
  await waitFor(
    async () => {
      await suite.shim.cri.runtime.removePodSandbox({ podSandboxId: await suite.shim.runSandbox(probe) });
      return events.length > 0;
    },
    { what: 'an event' },
  );
  return {
    events,
    async stop() {
      abort.abort();
      await reading;
    },
  };
}

suite.test('events of a container and its sandbox come in order, each with the state after it', async () => {
  const { runtime } = suite.shim.cri;
  const { events, stop } = await watchEvents();
  const name = suite.freshName();
  const podSandboxId = await suite.shim.runSandbox(name);
  const containerId = await suite.shim.create(podSandboxId, { command: ['sh', '-c', 'exit 3'] });
  await runtime.startContainer({ containerId });
  await suite.shim.waitForExit(containerId);
  await runtime.removeContainer({ containerId });
  await runtime.stopPodSandbox({ podSandboxId });
  await runtime.removePodSandbox({ podSandboxId });
  const mine = (): ContainerEvent[] => events.filter(({ podSandboxStatus }) => podSandboxStatus?.id === podSandboxId);
  await waitFor(() => mine().length >= 8, { what: 'eight events' });
  await stop();
  assert.deepEqual(
    mine().map((event) => [
      event.containerId === podSandboxId ? 'sandbox' : 'container',
      event.containerEventType.split('_')[1],
      event.podSandboxStatus?.state,
      event.containersStatuses.map(({ state, exitCode }) => `${state} ${exitCode}`).join(),
    ]),
    [
      ['sandbox', 'CREATED', 'SANDBOX_READY', ''],
      ['sandbox', 'STARTED', 'SANDBOX_READY', ''],
      ['container', 'CREATED', 'SANDBOX_READY', 'CONTAINER_CREATED 0'],
      ['container', 'STARTED', 'SANDBOX_READY', 'CONTAINER_RUNNING 0'],
      ['container', 'STOPPED', 'SANDBOX_READY', 'CONTAINER_EXITED 3'],
      ['container', 'DELETED', 'SANDBOX_READY', ''],
      ['sandbox', 'STOPPED', 'SANDBOX_NOTREADY', ''],
      ['sandbox', 'DELETED', 'SANDBOX_NOTREADY', ''],
    ],
  );
  const times = mine().map(({ createdAt }) => createdAt);
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  );
  assert.deepEqual([mine()[0]?.podSandboxStatus?.metadata?.name, times.every((time) => time > 0)], [name, true]);
});

suite.test('several readers get the same events; one that leaves does not matter to the rest', async () => {
  const [first, second, third] = [await watchEvents(), await watchEvents(), await watchEvents()];
  await third.stop();
  const podSandboxId = await suite.shim.runSandbox(suite.freshName());
  await suite.shim.cri.runtime.removePodSandbox({ podSandboxId });
  const kinds = (events: readonly ContainerEvent[]): string[] =>
    events.filter((event) => event.containerId === podSandboxId).map((event) => event.containerEventType);
  for (const { events } of [first, second]) await waitFor(() => kinds(events).length >= 4, { what: 'four events' });
  assert.deepEqual(kinds(first.events), kinds(second.events));
  await first.stop();
  await second.stop();
});
