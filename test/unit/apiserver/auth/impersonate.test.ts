import assert from 'node:assert/strict';
import { test } from 'node:test';
import { actAs } from '../../../../apiserver/auth/impersonate.ts';
import { authorize } from '../../../../apiserver/auth/authorize.ts';
import type { User } from '../../../../apiserver/auth/user.ts';

const ADMIN: User = { name: 'admin', groups: ['system:masters', 'system:authenticated'] };
const NODE: User = { name: 'system:node:n1', groups: ['system:nodes', 'system:authenticated'] };
const act = (user: User, headers: readonly string[]): User => actAs(user, headers, authorize);
const raw = (...pairs: [string, string][]): string[] => pairs.flat();

test('actAs() is the user itself when no header names another one', () => {
  assert.equal(act(NODE, raw(['Accept', '*/*'], ['Impersonate-User', ''])), NODE);
});

test('actAs() takes groups, UID and extra fields from the headers', () => {
  const headers = raw(
    ['Impersonate-User', Buffer.from('zoë').toString('latin1')],
    ['impersonate-group', 'a, b'],
    ['Impersonate-Group', 'c'],
    ['Impersonate-Uid', '1-2'],
    ['Impersonate-Extra-Acme.com%2Fscope', 'read'],
    ['Impersonate-Extra-Acme.com%2Fscope', 'write'],
    ['Impersonate-Extra-%zz', 'x'],
  );
  assert.deepEqual(act(ADMIN, headers), {
    name: 'zoë',
    groups: ['a, b', 'c', 'system:authenticated'],
    uid: '1-2',
    extra: { 'acme.com/scope': ['read', 'write'], '%zz': ['x'] },
  });
});

test('actAs() knows the groups of service accounts and of nobody', () => {
  const groupsOf = (name: string, ...groups: string[]): readonly string[] =>
    act(ADMIN, raw(['Impersonate-User', name], ...groups.map((it): [string, string] => ['Impersonate-Group', it])))
      .groups;
  const all = 'system:authenticated';
  assert.deepEqual(groupsOf('system:serviceaccount:a:b'), ['system:serviceaccounts', 'system:serviceaccounts:a', all]);
  assert.deepEqual(groupsOf('system:serviceaccount:a:b', 'c'), ['c', all]);
  assert.deepEqual(groupsOf('system:serviceaccount:a:b:c'), [all]);
  assert.deepEqual(groupsOf('system:anonymous'), ['system:unauthenticated']);
  assert.deepEqual(groupsOf('bob', all, 'c'), [all, 'c']);
});

test('actAs() refuses what its user may not claim, in the words of upstream', () => {
  const someone: User = { name: 'someone', groups: ['system:authenticated'] };
  assert.throws(() => act(someone, raw(['Impersonate-User', 'system:serviceaccount:a:b'])), {
    reason: 'Forbidden',
    message:
      'serviceaccounts "b" is forbidden: User "someone" cannot impersonate resource "serviceaccounts" ' +
      'in API group "" in the namespace "a"',
  });
  const asMaster = raw(['Impersonate-User', 'admin'], ['Impersonate-Group', 'system:masters']);
  assert.throws(() => act(NODE, asMaster), /users "admin" is forbidden: .* nodes may not impersonate users/);
  // Not even to be oneself.
  assert.throws(() => act(someone, raw(['Impersonate-User', 'someone'])), { reason: 'Forbidden' });
});

test('actAs() refuses groups without a user, and headers that it does not know', () => {
  for (const header of ['Impersonate-Group', 'Impersonate-Uid', 'Impersonate-Extra-a']) {
    assert.throws(() => act(ADMIN, raw([header, 'x'])), { reason: 'BadRequest' }, header);
  }
  assert.throws(() => act(ADMIN, raw(['Impersonate-User', 'a'], ['Impersonate-Node', 'x'])), /impersonate-node/);
});
