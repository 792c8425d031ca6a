import assert from 'node:assert/strict';
import { test } from 'node:test';
import { normalizeReference, parseReference } from '../../../oci/reference.ts';

const digest = `sha256:${'a'.repeat(64)}`;

test('normalizeReference() implies registry, library and tag', () => {
  const cases: Record<string, string> = {
    busybox: 'docker.io/library/busybox:latest',
    'busybox:1.36': 'docker.io/library/busybox:1.36',
    'shop/web': 'docker.io/shop/web:latest',
    'index.docker.io/busybox': 'docker.io/library/busybox:latest',
    'docker.io/busybox': 'docker.io/library/busybox:latest',
    'localhost/a': 'localhost/a:latest',
    '127.0.0.1:5000/a/b:c': '127.0.0.1:5000/a/b:c',
    '[::1]:5000/a': '[::1]:5000/a:latest',
    'ghcr.io/o/r@': '',
    [`a/b@${digest}`]: `docker.io/a/b@${digest}`,
    [`a/b:1@${digest}`]: `docker.io/a/b@${digest}`,
    'a__b/c---d.e': 'docker.io/a__b/c---d.e:latest',
  };
  for (const [text, want] of Object.entries(cases)) {
    if (want === '') assert.throws(() => normalizeReference(text), { reason: 'Invalid' });
    else assert.equal(normalizeReference(text), want);
  }
  assert.deepEqual(parseReference('busybox'), { registry: 'docker.io', repository: 'library/busybox', tag: 'latest' });
});

test('registry names: parseReference() refuses malformed ones and says why', () => {
  const bad: [string, RegExp][] = [
    ['', /must not be empty/],
    ['Busybox', /must be lower-case/],
    ['Shop/web', /must be lower-case/],
    ['a//b', /"" is not a repository name component/],
    ['..', /not a repository name component/],
    ['example.com/..', /not a repository name component/],
    ['example.com/_catalog', /not a repository name component/],
    ['a/b%2fc', /not a repository name component/],
    ['a b', /not a repository name component/],
    [`busybox:${'t'.repeat(129)}`, /tag must be 1 to 128/],
    ['busybox:-x', /tag must be/],
    ['busybox:', /tag must be/],
    [`${'a'.repeat(300)}`, /at most 255/],
    ['a'.repeat(64), /image id/],
    ['host:99999999/a', /not a registry host/],
    ['exa mple.com/a', /not a registry host/],
    ['busybox@sha256:abc', /want 64 hex digits/],
    [`busybox@sha256:${'A'.repeat(64)}`, /lower-case hex/],
    [`busybox@sha256:../../${'a'.repeat(58)}`, /lower-case hex/],
    [`x@md5:${'a'.repeat(32)}`, /sha256 or sha512/],
  ];
  for (const [text, message] of bad) {
    assert.throws(() => parseReference(text), { reason: 'Invalid', message }, text);
    assert.throws(() => parseReference(text), /^WindlassError: invalid reference "/, text);
  }
});
