import assert from 'node:assert/strict';
import test from 'node:test';
import { createOutput } from '../../../cli/output.ts';

const failIn = (env: Record<string, string>, isTTY = false): string => {
  let written = '';
  const stream = { isTTY, columns: 80, write: (text: string) => Boolean((written += text)) };
  createOutput({ stdout: stream as never, stderr: stream as never, env }).fail('x');
  return written;
};
const PLAIN = 'windlass: x\n';
const COLOURED = '\u001b[31mwindlass:\u001b[0m x\n';

test('createOutput() colours a terminal, and anything else only when it is told to', () => {
  assert.deepEqual(
    [failIn({}), failIn({}, true), failIn({ TERM: 'dumb' }, true), failIn({ NO_COLOR: '1' }, true)],
    [PLAIN, COLOURED, PLAIN, PLAIN],
  );
  assert.deepEqual(
    [failIn({ FORCE_COLOR: '1' }), failIn({ CLICOLOR_FORCE: '1' }), failIn({ FORCE_COLOR: '0' })],
    [COLOURED, COLOURED, PLAIN],
  );
  assert.equal(failIn({ NO_COLOR: '1', CLICOLOR_FORCE: '1' }, true), PLAIN);
});
