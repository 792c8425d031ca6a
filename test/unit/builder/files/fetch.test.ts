import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileNameOf, isHttpUrl } from '../../../../builder/files/fetch-url.ts';
import { withoutSecrets } from '../../../../lib/shown-url.ts';

test('URLs: names of files, and what messages show', () => {
  assert.equal(isHttpUrl('HTTP://x/y'), true);
  assert.equal(isHttpUrl('httpx'), false);
  assert.equal(fileNameOf('https://x/a/b%20c?d=e#f'), 'b c');
  assert.equal(fileNameOf('https://x/a/%2e%2e'), undefined);
  assert.equal(fileNameOf('https://x/a%2F..%2Fb'), 'b');
  assert.equal(fileNameOf('https://x'), undefined);
  assert.throws(() => fileNameOf('https://'), { reason: 'Invalid' });
  assert.equal(withoutSecrets('https://u:p@x/y?token=1'), 'https://x/y');
  assert.equal(withoutSecrets('https://u:p@x/y.git#main'), 'https://x/y.git#main');
});
