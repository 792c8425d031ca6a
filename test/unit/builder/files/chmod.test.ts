import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChmod } from '../../../../builder/files/chmod.ts';

/** --chmod, mode of a file before, after; what chmod(1) does with an umask of 0. */
const CASES: readonly (readonly [string, number, number])[] = [
  ['0644', 0o777, 0o644],
  ['4755', 0o600, 0o4755],
  ['0', 0o777, 0],
  ['u=rwX,go=rX', 0o600, 0o644],
  ['u=rwX,go=rX', 0o700, 0o755],
  ['+x', 0o644, 0o755],
  ['a-w', 0o666, 0o444],
  ['u+s,g-x', 0o755, 0o4745],
  ['ug=rw,o=', 0o777, 0o660],
  ['go=u', 0o750, 0o777],
  ['g=o', 0o754, 0o744],
  ['u=', 0o4755, 0o055],
  ['+t', 0o755, 0o1755],
  ['u+t', 0o755, 0o755],
  ['=r', 0o1777, 0o444],
  ['u+r-w+x', 0o200, 0o500],
  ['g+s', 0o755, 0o2755],
];

test('parseChmod() does what chmod(1) does', () => {
  for (const [text, before, after] of CASES) {
    assert.equal(parseChmod(text)(before, false).toString(8), after.toString(8), text);
  }
  assert.equal(parseChmod('a+X')(0o644, true), 0o755);
  assert.equal(parseChmod('a+X')(0o644, false), 0o644);
});

test('parseChmod() refuses what is no mode', () => {
  for (const text of ['', '8', '10000', '0o644', 'u', 'u+q', 'u+r,', ',u+r', 'x+r', 'rwxr-xr-x', ' 644', '-1']) {
    assert.throws(() => parseChmod(text), { reason: 'Invalid' }, text);
  }
});
