import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBuildLog } from '../../../builder/build-log.ts';

function logOf(write: (log: ReturnType<typeof createBuildLog>) => void): string[] {
  const lines: string[] = [];
  let now = 0;
  const log = createBuildLog(
    (event) => {
      if (event.kind === 'log') lines.push(event.text);
    },
    () => (now += 100),
  );
  write(log);
  return lines;
}

test('steps are numbered in the order in which they begin, and their lines are told apart', () => {
  const lines = logOf((log) => {
    const first = log.begin('[build 1/2] RUN make');
    const second = log.begin('[2/2] COPY a /');
    void first.output('one\ntw');
    second.cached();
    void first.output('o\nthree');
    first.done();
  });
  assert.deepEqual(lines, [
    '#1 [build 1/2] RUN make\n',
    '#2 [2/2] COPY a /\n',
    '#1 0.2 one\n',
    '#2 CACHED\n',
    '#1 0.3 two\n',
    '#1 0.4 three\n',
    '#1 DONE 0.5s\n',
  ]);
});

test('of a line that is written over and over, its last state is kept; one without end is cut', () => {
  const lines = logOf((log) => {
    const step = log.begin('RUN x');
    void step.output(' 10%\r 50%\r100%\r\n');
    void step.output('y'.repeat(150_000));
    step.failed('exit code 1');
  });
  assert.equal(lines[1], '#1 0.1 100%\n');
  assert.deepEqual(
    lines.slice(2).map((line) => line.length),
    [65_544, 65_544, 18_936, 22],
  );
});
