import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, isDigest, parseDigest, splitDigest } from '../../../oci/digest.ts';

test('parseDigest() takes sha256 and sha512', () => {
  assert.equal(parseDigest(digestOf('x')), digestOf('x'));
  assert.equal(splitDigest(digestOf('x', 'sha512')).hex.length, 128);
});

test('digest path traversal (CVE-2024-3727): anything but lower-case hex of the right length is refused', () => {
  const hex = 'a'.repeat(64);
  const bad = [
    '',
    ':',
    'sha256:',
    `sha256:${'../'.repeat(21)}a`,
    `sha256:../../${'a'.repeat(58)}`,
    `sha256:${hex.toUpperCase()}`,
    `sha256:${hex}a`,
    `sha256:${hex.slice(1)}`,
    `sha256:${hex.slice(1)}\n`,
    `SHA256:${hex}`,
    `md5:${'a'.repeat(32)}`,
    `${'s'.repeat(100_000)}:${hex}`,
    `__proto__:${hex}`,
    `constructor:${hex}`,
    hex,
  ];
  for (const text of bad) {
    assert.equal(isDigest(text), false, text.slice(0, 50));
    assert.throws(() => parseDigest(text), { reason: 'Invalid' });
  }
});
