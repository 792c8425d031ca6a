import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { test } from 'node:test';
import { checkHost, findAddresses, guardedLookup, namesThisMachine } from '../../../lib/refused-addresses.ts';

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
