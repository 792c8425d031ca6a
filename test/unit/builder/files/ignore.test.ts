import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createIgnoreRules, parseIgnoreFile } from '../../../../builder/files/ignore.ts';

/** pattern, path, whether it is left out. */
const SINGLE: readonly (readonly [string, string, boolean])[] = [
  ['**', 'file', true],
  ['**/', 'file', true],
  ['**', 'dir/file', true],
  ['**/', 'dir/file', true],
  ['**/**', 'dir/file', true],
  ['dir/**', 'dir/file', true],
  ['dir/**', 'dir/dir2/file', true],
  ['**/dir', 'dir', true],
  ['**/dir', 'dir/file', true],
  ['**/dir2/*', 'dir/dir2/file', true],
  ['**/dir2/**', 'dir/dir2/dir3/file', true],
  ['**file', 'file', true],
  ['**file', 'dir/file', true],
  ['**file', 'bigfile', true],
  ['**file', 'dir/dir/file', true],
  ['**/file', 'dir/file', true],
  ['**/file', 'dir/dir/file', true],
  ['**/file', 'dir/bigfile', false],
  ['**/file*', 'dir/dir/file.txt', true],
  ['**/file*txt', 'dir/dir/file.txt', true],
  ['**/file*.txt*', 'dir/dir/file.txt', true],
  ['**/**/*.txt', 'dir/dir/file.txt', true],
  ['**/**/*.txt2', 'dir/dir/file.txt', false],
  ['**/*.txt', 'file.txt', true],
  ['**/**/*.txt', 'file.txt', true],
  ['a**/*.txt', 'a/file.txt', true],
  ['a**/*.txt', 'a/dir/dir/file.txt', true],
  ['a/*.txt', 'a/dir/file.txt', false],
  ['a/*.txt', 'a/file.txt', true],
  ['a/*.txt**', 'a/file.txt', true],
  ['a[b-d]e', 'ae', false],
  ['a[b-d]e', 'ace', true],
  ['a[b-d]e', 'aae', false],
  ['a[^b-d]e', 'aze', true],
  ['.*', '.foo', true],
  ['.*', 'foo', false],
  ['abc.def', 'abcdef', false],
  ['abc.def', 'abc.def', true],
  ['abc.def', 'abcZdef', false],
  ['abc?def', 'abcZdef', true],
  ['abc?def', 'abcdef', false],
  ['abc?def', 'abc/def', false],
  ['a\\\\', 'a\\', true],
  ['a\\*b', 'a*b', true],
  ['a\\*b', 'axb', false],
  ['**/foo/bar', 'foo/bar', true],
  ['**/foo/bar', 'dir/dir2/foo/bar', true],
  ['abc/**', 'abc', false],
  ['abc/**', 'abc/def/ghi', true],
  ['abc**', 'abcdef/ghi', true],
  ['**/.foo', '.foo', true],
  ['**/.foo', 'bar.foo', false],
  ['a(b)c/def', 'a(b)c/def', true],
  ['a(b)c/def', 'a(b)c/xyz', false],
  ['a.|)$(}+{bc', 'a.|)$(}+{bc', true],
  ['dist/*.whl', 'dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl', true],
  ['*c', 'abc', true],
  ['a*', 'ab/c', true],
  ['a*b*c*d*e*/f', 'axbxcxdxexxx/f', true],
  ['a*b*c*d*e*/f', 'axbxcxdxe/xxx/f', false],
  ['a?b', 'a☺b', true],
  ['a[^a]b', 'a☺b', true],
  ['a???b', 'a☺b', false],
  ['a?b', 'a😀b', true],
  ['[a-ζ]*', 'α', true],
  ['*[a-ζ]', 'A', false],
  ['[\\]a]', ']', true],
  ['[\\-x]', '-', true],
  ['[x\\-]', 'z', false],
  // The root and what is above it are no paths of a context.
  ['.', 'file', false],
  ['/', 'file', false],
  ['../up', 'up', false],
  ['a/../b', 'b', true],
  ['./a//b/', 'a/b', true],
  [' spaced ', 'spaced', true],
];

/** patterns, path, whether it is left out. */
const SEVERAL: readonly (readonly [readonly string[], string, boolean])[] = [
  [['!file.go', '*.go'], 'file.go', true],
  [['*.go', '!file.go'], 'file.go', false],
  [['docs', '!docs/README.md'], 'docs/README.md', false],
  [['docs/', '!docs/README.md'], 'docs/README.md', false],
  [['docs/*', '!docs/README.md'], 'docs/README.md', false],
  [['**', '!util/docker/web'], 'util/docker/web/foo', false],
  [['**', '!util/docker/web', 'util/docker/web/foo'], 'util/docker/web/foo', true],
  [['**', '!dist/*.whl'], 'dist/a.whl', false],
  [['*.md', '!README*.md', 'README-secret.md'], 'README-secret.md', true],
  [['*.md', '!README*.md', 'README-secret.md'], 'README-x.md', false],
  [['*.md', 'README-secret.md', '!README*.md'], 'README-secret.md', false],
  [['*', '!*/*'], 'a/b', false],
  [['a', '!a/b', 'a/b/c'], 'a/b/c', true],
  [['a', '!a/b', 'a/b/c'], 'a/b/d', false],
  [[], 'anything', false],
  [['', '  '], 'anything', false],
];

test('createIgnoreRules() leaves out what docker leaves out', () => {
  for (const [pattern, path, want] of SINGLE) {
    assert.equal(createIgnoreRules([pattern]).isIgnored(path), want, `${pattern} on ${path}`);
  }
  for (const [patterns, path, want] of SEVERAL) {
    assert.equal(createIgnoreRules(patterns).isIgnored(path), want, `${patterns.join(' ')} on ${path}`);
  }
});

test('createIgnoreRules() refuses what is no pattern', () => {
  for (const pattern of ['!', '[', '[a', '[]a]', '[-]', '[x-]', '[-x]', 'a\\', 'a[', '[^]', '[^bc', '[a-b-c]']) {
    assert.throws(() => createIgnoreRules([pattern]), { reason: 'Invalid' }, pattern);
  }
});

test('mayKeepBelow() is true only where an exception may be', () => {
  const rules = createIgnoreRules(['*', '!src/app/main.ts']);
  assert.equal(rules.mayKeepBelow('node_modules'), false);
  assert.equal(rules.mayKeepBelow('src'), true);
  assert.equal(rules.mayKeepBelow('src/app'), true);
  assert.equal(rules.mayKeepBelow('src/app/main.ts'), false);
  assert.equal(createIgnoreRules(['*', '!**/*.ts']).mayKeepBelow('node_modules'), true);
  assert.equal(createIgnoreRules(['*']).mayKeepBelow('src'), false);
});

test('parseIgnoreFile() drops comments, marks and spaces, and roots patterns in the context', () => {
  const text =
    '\ufefftest1\r\n/test2\n/a/file/here\n\nlastfile\n# this is a comment\n #kept\n! /inverted/abs/path\n!\n! \n/\n./x/../y/\n';
  assert.deepEqual(parseIgnoreFile(text), [
    'test1',
    'test2',
    'a/file/here',
    'lastfile',
    '#kept',
    '!inverted/abs/path',
    '!',
    '!',
    '/',
    'y',
  ]);
});

test('patterns that would take a backtracking matcher for ever are fast', () => {
  const start = performance.now();
  const rules = createIgnoreRules([`${'**/'.repeat(20)}x`, `${'*a'.repeat(30)}b`]);
  assert.equal(rules.isIgnored(`${'a'.repeat(100)}/${'a/'.repeat(100)}y`), false);
  assert.ok(performance.now() - start < 5000);
});
