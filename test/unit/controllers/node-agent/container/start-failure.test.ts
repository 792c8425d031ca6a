import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutTemporaryNames } from '../../../../../controllers/node-agent/container/start-failure.ts';

test('withoutTemporaryNames() makes two tries of one copy read alike, and leaves versions and ids alone', () => {
  const text = (id: string) => `failed to copy /a to /v/.shop_data.${id}: cp: '/v/.shop_data.${id}/du': No space left`;
  assert.equal(withoutTemporaryNames(text('57b16244a343')), withoutTemporaryNames(text('1cef80b0f76f')));
  const plain = 'image r.io/app:1.27.3@sha256:0123456789ab is gone';
  assert.equal(withoutTemporaryNames(plain), plain);
});
