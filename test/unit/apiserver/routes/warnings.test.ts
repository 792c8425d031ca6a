import assert from 'node:assert/strict';
import { test } from 'node:test';
import { warningHeaders } from '../../../../apiserver/routes/respond.ts';

test('warningHeaders() writes each warning once, as one line that can be parsed', () => {
  assert.deepEqual(warningHeaders(['a "b"\nc', 'a "b"\nc', 'd']), ['299 - "a \\"b\\" c"', '299 - "d"']);
  const [cut = ''] = warningHeaders([`${'x'.repeat(4095)}"`]);
  assert.ok(cut.endsWith('x\\""'), 'the escaped quote is whole');
});

test('warningHeaders() stays within what a client takes as headers', () => {
  const headers = warningHeaders(Array.from({ length: 10_000 }, (_, index) => `unknown field "spec.f${index}"`));
  assert.ok(headers.join('').length < 9_000);
  assert.match(headers.at(-1) ?? '', /^299 - "and 9\d+ more warnings"$/);
});
