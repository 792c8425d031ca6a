import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromGrpcError } from '../../../cri/errors.ts';
import { CODES, GrpcError } from '../../../lib/grpc/codes.ts';
import { messageOf } from '../../../lib/errors.ts';

test('fromGrpcError() says of a deadline only which call was late, so that two of them read alike', () => {
  const late = (message: string) =>
    messageOf(fromGrpcError('RuntimeService.StopContainer', new GrpcError({ code: CODES.DEADLINE_EXCEEDED, message })));
  assert.equal(
    late('Deadline exceeded after 31.000s,LB pick: 0.001s'),
    'RuntimeService.StopContainer was not answered in time',
  );
  assert.equal(late('container c1 did not end after SIGKILL'), 'container c1 did not end after SIGKILL');
});
