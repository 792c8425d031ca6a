import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitFor } from '../../../support/wait.ts';

test('waitFor() gives up a probe that never returns, and says so', async () => {
  await assert.rejects(
    waitFor(() => new Promise<boolean>(() => undefined), {
      ...{ timeoutMs: 20, what: 'the node', explain: () => 'its log' },
    }),
    { message: 'the node did not come within 20 ms: probe 1 has not returned by then\nits log' },
  );
});

test('waitFor() takes the answer of a probe that began before the deadline and ends after it', async () => {
  const answers = ['', 'there'];
  const slow = async (): Promise<string | undefined> => {
    await new Promise((resolve) => setTimeout(resolve, 300));
    return answers.shift();
  };
  assert.equal(await waitFor(slow, { timeoutMs: 400 }), 'there');
});
