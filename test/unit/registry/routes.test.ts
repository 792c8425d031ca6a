import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../../oci/digest.ts';
import { parsePath } from '../../../registry/routes/parse-path.ts';
import { parseRange } from '../../../lib/byte-range.ts';
import { parseChunkRange } from '../../../registry/routes/range.ts';
import { parseScope } from '../../../registry/access/token-key.ts';

const digest = digestOf('x');

test('parsePath() finds the repository before the last word of the specification', () => {
  const cases: [string, unknown][] = [
    ['/v2', { kind: 'ping' }],
    ['/v2/', { kind: 'ping' }],
    ['/v2/_catalog', { kind: 'catalog' }],
    ['/v2/a/tags/list', { kind: 'tags', repository: 'a' }],
    ['/v2/a/b/manifests/v1', { kind: 'manifest', repository: 'a/b', reference: 'v1' }],
    ['/v2/a/manifests/b/manifests/v1', { kind: 'manifest', repository: 'a/manifests/b', reference: 'v1' }],
    ['/v2/tags/list/tags/list', { kind: 'tags', repository: 'tags/list' }],
    [`/v2/a/blobs/${digest}`, { kind: 'blob', repository: 'a', digest }],
    [`/v2/a/blobs/${digest.replace(':', '%3A')}`, { kind: 'blob', repository: 'a', digest }],
    ['/v2/a/blobs/uploads/', { kind: 'uploads', repository: 'a' }],
    ['/v2/a/blobs/uploads', { kind: 'uploads', repository: 'a' }],
    ['/v2/a/blobs/uploads/id', { kind: 'upload', repository: 'a', id: 'id' }],
    ['/v2/a/blobs/b/blobs/uploads/id', { kind: 'upload', repository: 'a/blobs/b', id: 'id' }],
    [`/v2/a/referrers/${digest}`, { kind: 'referrers', repository: 'a', digest }],
    ['/v2/a', undefined],
    ['/v2/a/manifests/', undefined],
    ['/v1/a/manifests/b', undefined],
  ];
  for (const [path, route] of cases) assert.deepEqual(parsePath(path), route, path);
});

test('parsePath() refuses names that cannot be', () => {
  for (const name of ['', '..', 'A', 'a//b', 'a/', '_a', `${'a'.repeat(256)}`, 'a%2fb', 'a b']) {
    assert.throws(() => parsePath(`/v2/${name}/manifests/v1`), { details: { code: 'NAME_INVALID' } }, name);
  }
});

test('parseRange() reads one range of bytes', () => {
  const cases: [string | undefined, unknown][] = [
    [undefined, undefined],
    ['bytes=0-', { start: 0, end: 9 }],
    ['bytes=3-5', { start: 3, end: 5 }],
    ['bytes=3-50', { start: 3, end: 9 }],
    ['bytes=-3', { start: 7, end: 9 }],
    ['bytes=-30', { start: 0, end: 9 }],
    ['bytes=10-', 'unsatisfiable'],
    ['bytes=5-3', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=0-1,3-4', undefined],
    ['bytes=99999999999999999999-', undefined],
  ];
  for (const [header, range] of cases) assert.deepEqual(parseRange(header, 10), range, header);
  assert.equal(parseRange('bytes=0-', 0), 'unsatisfiable');
});

test('parseChunkRange() reads a chunk with and without a unit', () => {
  assert.deepEqual(parseChunkRange('0-9'), { start: 0, end: 9 });
  assert.deepEqual(parseChunkRange('bytes 5-9/*'), { start: 5, end: 9 });
  assert.equal(parseChunkRange(undefined), undefined);
  for (const header of ['', '9-0', 'a-b', '-5', '5-', '0-9,10-11'])
    assert.equal(parseChunkRange(header), 'invalid', header);
});

test('parseScope() reads what docker asks for', () => {
  assert.deepEqual(parseScope('repository:a/b:pull,push'), {
    kind: 'repository',
    name: 'a/b',
    actions: ['pull', 'push'],
  });
  assert.deepEqual(parseScope('repository:a:*'), {
    kind: 'repository',
    name: 'a',
    actions: ['pull', 'push', 'delete'],
  });
  assert.deepEqual(parseScope('registry:catalog:*'), { kind: 'catalog' });
  for (const text of ['', 'repository:a', 'registry:catalog:pull', 'repository:a:PULL', 'x:y:z']) {
    assert.equal(parseScope(text), undefined, text);
  }
});
