import assert from 'node:assert/strict';
import test from 'node:test';
import { freePorts } from '../../cli/ports.ts';
import { createInstance, runCommand } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';

test('108 npm run quickstart goes from nothing to an answered request, twice', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'npm')) return;
  const instance = await createInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  const [port] = await freePorts(1);
  const env = { ...instance.env, WINDLASS_QUICKSTART_PORT: String(port) };
  for (const attempt of ['first', 'again']) {
    const result = await runCommand(
      'npm',
      ['run', '-s', 'quickstart', '--', ...instance.flags, '--listen', instance.listen],
      { env, timeoutMs: 180_000 },
    );
    assert.equal(result.code, 0, `${attempt}: ${result.stdout}${result.stderr}`);
    assert.match(result.stdout, /GET http:\/\/127\.0\.0\.1:\d+\/\n.*\w/);
    assert.match(result.stdout, /service\.windlass\.dev\/web.*3/);
    assert.match(result.stdout, /Done in/);
  }
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  assert.equal(answer.status, 200);
});
