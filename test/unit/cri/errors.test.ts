import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Metadata, status } from '@grpc/grpc-js';
import { fromGrpcError } from '../../../cri/errors.ts';
import { messageOf } from '../../../lib/errors.ts';

test('fromGrpcError() says of a deadline only which call was late, so that two of them read alike', () => {
  const late = (details: string) =>
    messageOf(
      fromGrpcError('RuntimeService.StopContainer', {
        code: status.DEADLINE_EXCEEDED,
        details,
        metadata: new Metadata(),
      }),
    );
  assert.equal(
    late('Deadline exceeded after 31.000s,LB pick: 0.001s'),
    'RuntimeService.StopContainer was not answered in time',
  );
  assert.equal(late('container c1 did not end after SIGKILL'), 'container c1 did not end after SIGKILL');
});
