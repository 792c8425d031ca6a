import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync, statSync } from 'node:fs';
import { criSuite } from '../../support/cri-suite.ts';
import { waitFor } from '../../support/wait.ts';

const suite = criSuite();

suite.test('a log line has time, stream and tag; what has no line end is marked as a part', async () => {
  const command = ['sh', '-c', 'echo out; echo err >&2; printf part'];
  const { status } = await suite.runToEnd({ command });
  const lines = readFileSync(status.logPath, 'utf8').split('\n').filter(Boolean).toSorted();
  const time = String.raw`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}(?:Z|[+-]\d\d:\d\d)`;
  for (const end of ['stdout F out', 'stderr F err', 'stdout P part']) {
    assert.ok(
      lines.some((line) => new RegExp(`${time} ${end}$`).test(line)),
      `${end} in ${lines.join(' | ')}`,
    );
  }
});

suite.test('after a rotation the new file is there on return, goes on, and the old one stops growing', async () => {
  const containerId = await suite.runSleeper({ command: ['sh', '-c', 'while :; do echo tick; sleep 0.02; done'] });
  const { logPath } = await suite.shim.status(containerId);
  await suite.untilLogged(containerId, 'tick');
  const old = `${logPath}.1`;
  renameSync(logPath, old);
  await suite.shim.cri.runtime.reopenContainerLog({ containerId });
  assert.ok(existsSync(logPath));
  const size = statSync(old).size;
  await waitFor(() => readFileSync(logPath, 'utf8').split('tick').length > 5, { what: 'lines in the new file' });
  assert.equal(statSync(old).size, size);
});

suite.test('a container that does not run has no log to open anew', async () => {
  const { status } = await suite.runToEnd({ command: ['true'] });
  await assert.rejects(suite.shim.cri.runtime.reopenContainerLog({ containerId: status.id }), { reason: 'Conflict' });
});
