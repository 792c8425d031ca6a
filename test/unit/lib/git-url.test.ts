import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostOf, isGitUrl, parseGitUrl } from '../../../lib/git-url.ts';

test('isGitUrl() knows repositories from files', () => {
  for (const url of [
    'https://example.com/a/b.git',
    'HTTPS://example.com/a/b.git#main:docs',
    'git://example.com/x',
    'ssh://git@example.com/x',
    'git@example.com:a/b.git#v1',
  ]) {
    assert.equal(isGitUrl(url), true, url);
  }
  for (const url of [
    'https://example.com/a.tar',
    'https://example.com/a?x=.git',
    'a.git',
    './git@x:y',
    'git@x',
    '/srv/a.git',
  ]) {
    assert.equal(isGitUrl(url), false, url);
  }
});

test('parseGitUrl() takes addresses apart', () => {
  const parse = (text: string): unknown => parseGitUrl(text, { allowsLocal: true });
  const https = 'https://example.com/x.git';
  assert.deepEqual(parse(https), { remote: https, isLocal: false, ref: undefined, folder: '' });
  assert.deepEqual(parse(`${https}#v1.2:a//b/`), { remote: https, isLocal: false, ref: 'v1.2', folder: 'a/b' });
  assert.deepEqual(parse(`${https}#:a`), { remote: https, isLocal: false, ref: undefined, folder: 'a' });
  assert.deepEqual(parse('git@example.com:a/b#feature/x'), {
    remote: 'git@example.com:a/b',
    isLocal: false,
    ref: 'feature/x',
    folder: '',
  });
  assert.deepEqual(parse('/srv/x.git#main'), { remote: '/srv/x.git', isLocal: true, ref: 'main', folder: '' });
  assert.throws(() => parseGitUrl('/srv/x.git', { allowsLocal: false }), { reason: 'Invalid' });
  assert.throws(
    () => parse('https://user:hunter2@example.com/x.git?a=b'),
    (error) => !String(error).includes('hunter2'),
  );
});

test('hostOf() finds the host in either form', () => {
  assert.equal(hostOf('git@example.com:a/b'), 'example.com');
  assert.equal(hostOf('ssh://git@example.com:22/x'), 'example.com');
});
