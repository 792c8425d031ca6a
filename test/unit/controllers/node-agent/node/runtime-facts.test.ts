import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRuntimeFacts } from '../../../../../controllers/node-agent/node/runtime-facts.ts';
import { silentLogger } from '../../../../../lib/log.ts';
import { createFakeClock } from '../../../../support/fake-clock.ts';
import { waitFor } from '../../../../support/wait.ts';

const DESCRIBED = {
  ...{ instanceId: 'x', metricsAddress: '127.0.0.1:1', ociRuntime: 'crun', features: ['networks', 'overlay'] },
  ...{ encryptionKey: 'old', encryptionLacks: '' },
};

test('createRuntimeFacts() says at once what the runtime says anew, and asks it again by itself once it is connected', async (t) => {
  const clock = createFakeClock();
  let answer: typeof DESCRIBED | undefined = DESCRIBED;
  let asked = 0;
  const changes: string[] = [];
  const facts = createRuntimeFacts({
    ...{ clock, log: silentLogger() },
    runtime: {
      async describe() {
        asked += 1;
        if (!answer) throw new Error('away');
        return answer;
      },
    },
    onChange: () => changes.push(facts.annotations()['windlass.dev/encryption-key'] ?? ''),
  });
  const end = new AbortController();
  const running = facts.run(end.signal);
  t.after(async () => {
    end.abort();
    await running;
  });
  const look = async (): Promise<void> => {
    const before = asked;
    await waitFor(async () => {
      await clock.advance(10_000);
      return asked > before;
    });
  };
  assert.deepEqual(facts.annotations(), { 'windlass.dev/runtime-features': '' });
  assert.equal((await facts.read()).metricsAddress, '127.0.0.1:1');
  assert.deepEqual(facts.annotations(), {
    'windlass.dev/runtime-features': 'networks,overlay',
    ...{ 'windlass.dev/encryption-key': 'old', 'windlass.dev/encryption-lacks': '' },
  });
  await look();
  assert.deepEqual(changes, ['old'], 'the same again is no news');
  answer = undefined;
  await look();
  answer = { ...DESCRIBED, encryptionKey: 'new' };
  await waitFor(async () => {
    await look();
    return changes.length === 2;
  });
  assert.deepEqual(changes, ['old', 'new']);
});
