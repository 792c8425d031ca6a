import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WindlassError } from '../../../../lib/errors.ts';
import { toFailure } from '../../../../runtime-shim/rpc/build-image.ts';

test('toFailure() is final for what the Dockerfile is to blame for, not for a registry that refuses a base image', () => {
  const failure = (reason: 'Forbidden' | 'Invalid' | 'NotFound', instruction: string) =>
    toFailure(new WindlassError(reason, 'm', { details: { instruction } }));
  assert.equal(failure('Invalid', 'FROM a').isFinal, true);
  assert.equal(failure('Forbidden', 'ADD http://169.254.169.254/ /').isFinal, true);
  assert.equal(failure('Forbidden', 'FROM base:1').isFinal, false);
  assert.equal(failure('Forbidden', 'COPY --from=base:1 /a /a').isFinal, false);
  assert.equal(failure('NotFound', 'FROM base:1').isFinal, false);
});
