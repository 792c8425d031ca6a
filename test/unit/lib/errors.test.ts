import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { toStatus } from '../../../apiserver/routes/status.ts';
import { toGrpcFailure } from '../../../cri/errors.ts';
import { nameOfCode } from '../../../lib/grpc/codes.ts';
import { isNotFound, reasonOf, REASONS, WindlassError } from '../../../lib/errors.ts';

test('docs/errors.md lists every reason, in order, with the codes that the edges answer', () => {
  const text = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| ([A-Za-z]+) \| (\d{3}) \| ([A-Z_]+) \|/gm)].map((match) => match.slice(1));
  const expected = REASONS.map((reason) => {
    const error = new WindlassError(reason, 'x');
    return [reason, String(toStatus(error).code), nameOfCode(toGrpcFailure(error).code)];
  });
  assert.deepEqual(rows, expected);
});

test('reasonOf() walks the chain of causes', () => {
  const inner = new WindlassError('NotFound', 'image busybox not found');
  const outer = new Error('failed to create container', { cause: new Error('step', { cause: inner }) });
  assert.deepEqual(
    [reasonOf(outer), isNotFound(outer), reasonOf(new Error('x')), reasonOf('text')],
    ['NotFound', true, undefined, undefined],
  );
});
