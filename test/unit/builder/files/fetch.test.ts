import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { test } from 'node:test';
import { fileNameOf, isHttpUrl, withoutSecrets } from '../../../../builder/files/fetch-url.ts';
import { hostOf, isGitUrl, parseGitUrl } from '../../../../builder/files/git-url.ts';
import {
  checkHost,
  findAddresses,
  guardedLookup,
  namesThisMachine,
} from '../../../../builder/files/refused-addresses.ts';

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

test('a build reaches this machine only when its URL says so', () => {
  for (const host of ['localhost', '127.0.0.1', '127.9.9.9', '[::1]', 'x.localhost', '0.0.0.0']) {
    assert.equal(namesThisMachine(host), true, host);
  }
  for (const host of ['example.com', 'localhost.example.com', '10.0.0.1', '[2001:db8::1]']) {
    assert.equal(namesThisMachine(host), false, host);
  }
  assert.throws(() => checkHost('127.0.0.1', false), { reason: 'Forbidden' });
  assert.throws(() => checkHost('[::ffff:127.0.0.1]', false), { reason: 'Forbidden' });
  assert.throws(() => checkHost('169.254.1.1', true), { reason: 'Forbidden' });
  checkHost('127.0.0.1', true);
  checkHost('10.0.0.1', false);
  checkHost('example.com', false);
});

test('findAddresses() gives those of a name that names this machine, none of what nobody knows', async () => {
  assert.ok((await findAddresses('localhost')).length > 0);
  assert.deepEqual(await findAddresses('127.0.0.1'), ['127.0.0.1']);
  assert.deepEqual(await findAddresses('[::1]'), ['::1']);
  assert.deepEqual(await findAddresses('name.invalid'), []);
  // The last two are none to look at, and 169.254.169.254 once they are resolved.
  for (const host of ['169.254.169.254', '2852039166', '0xa9fea9fe']) {
    await assert.rejects(findAddresses(host), { reason: 'Forbidden' }, host);
  }
  await assert.rejects(findAddresses('2130706433'), { reason: 'Forbidden', message: /this machine itself/ });
});

test('a name that leads to this machine is refused when it is looked up', async () => {
  const look = (mayReachThisMachine: boolean): Promise<unknown> =>
    new Promise((resolve) => {
      guardedLookup(mayReachThisMachine)('localhost', { all: true }, (error, addresses) => resolve(error ?? addresses));
    });
  assert.match(String(await look(false)), /localhost is at .*an address of this machine itself/);
  assert.ok(((await look(true)) as LookupAddress[]).length > 0);
});
