import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

test('docs/swarm.md has every row, and each test that it names is there', () => {
  const rows = read('docs/swarm.md')
    .split('\n')
    .filter((line) => line.includes('`: `'));
  const numbers = rows.flatMap((line) => /^\| (\d+) \|/.exec(line)?.[1] ?? []).map(Number);
  assert.deepEqual(
    numbers,
    Array.from({ length: 19 }, (_, index) => 90 + index),
  );
  for (const line of rows)
    for (const [, file = '', name = ''] of line.matchAll(/`(test\/[^`]+)`: `([^`]+)`/g)) {
      // A number is how the name of a test begins.
      const isThere = /^\d+ $/.test(name)
        ? new RegExp(`test\\(\\s*['"]${name}`).test(read(file))
        : read(file).includes(name);
      assert.ok(isThere, `${file} has no test ${name}`);
    }
});
