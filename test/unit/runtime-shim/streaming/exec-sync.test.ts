import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import type { ExecProcess } from '../../../../runtime-shim/streaming/exec-process.ts';
import { collectExec } from '../../../../runtime-shim/streaming/exec-sync.ts';

/** A program that has ended while another process holds its output open. */
function endedWithOpenOutput(exited: ExecProcess['exited']): ExecProcess {
  const stdout = new PassThrough();
  stdout.write('said');
  return {
    stdin: undefined,
    stdout,
    stderr: new PassThrough(),
    exited,
    resize: () => undefined,
    kill: () => undefined,
    hasProgramEnded: () => true,
    dispose: () => undefined,
  };
}

test('output held open by a process left behind does not hide the exit code', async () => {
  const child = endedWithOpenOutput(Promise.resolve({ code: 7, signal: undefined }));
  const result = await collectExec(child, 0, new AbortController().signal);
  assert.deepEqual([result.stdout.toString(), result.exitCode], ['said', 7]);
});
