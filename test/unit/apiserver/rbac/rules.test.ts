import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Attributes } from '../../../../apiserver/auth/authorize.ts';
import { notCovered, ruleAllows } from '../../../../apiserver/rbac/rules.ts';
import type { PolicyRule } from '../../../../crds/rbac.ts';

const ask = (part: Partial<Attributes>): Attributes => ({
  ...{ verb: 'get', group: 'windlass.dev', version: 'v1', resource: 'containers', subresource: '' },
  ...{ namespace: 'shop', name: 'web' },
  ...part,
});
const READ: PolicyRule = { verbs: ['get', 'list'], apiGroups: ['windlass.dev'], resources: ['containers'] };

test('ruleAllows() wants the verb, the group and the resource, and takes a star for each', () => {
  assert.equal(ruleAllows(READ, ask({})), true);
  assert.equal(ruleAllows(READ, ask({ verb: 'watch' })), false);
  assert.equal(ruleAllows(READ, ask({ group: '' })), false);
  assert.equal(ruleAllows(READ, ask({ resource: 'images' })), false);
  assert.equal(ruleAllows({ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }, ask({ subresource: 'status' })), true);
  assert.equal(ruleAllows({ verbs: ['get'] }, ask({})), false);
});

test('ruleAllows() tells a resource from its subresources', () => {
  const rule = (...resources: string[]): PolicyRule => ({ ...READ, resources });
  assert.equal(ruleAllows(rule('containers'), ask({ subresource: 'status' })), false);
  assert.equal(ruleAllows(rule('containers/status'), ask({ subresource: 'status' })), true);
  assert.equal(ruleAllows(rule('containers/status'), ask({})), false);
  assert.equal(ruleAllows(rule('*/status'), ask({ subresource: 'status' })), true);
});

test('ruleAllows() keeps to names where a rule has some: what has none yet, or is a list, is none of them', () => {
  const rule = { ...READ, resourceNames: ['web'] };
  assert.equal(ruleAllows(rule, ask({})), true);
  assert.equal(ruleAllows(rule, ask({ name: 'db' })), false);
  assert.equal(ruleAllows(rule, ask({ verb: 'list', name: '' })), false);
  assert.equal(ruleAllows({ ...READ, resourceNames: [] }, ask({ name: 'db' })), true);
});

test('ruleAllows() knows paths, and beginnings of paths', () => {
  const rule: PolicyRule = { verbs: ['get'], nonResourceURLs: ['/metrics', '/logs/*'] };
  assert.equal(ruleAllows(rule, ask({ path: '/metrics' })), true);
  assert.equal(ruleAllows(rule, ask({ path: '/metrics/targets' })), false);
  assert.equal(ruleAllows(rule, ask({ path: '/logs/a' })), true);
  assert.equal(ruleAllows(rule, ask({})), false);
  assert.equal(ruleAllows({ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }, ask({ path: '/metrics' })), false);
});

test('notCovered() names single grants that are not held', () => {
  const wanted: PolicyRule = {
    verbs: ['get', 'delete'],
    apiGroups: ['windlass.dev'],
    resources: ['containers', 'images'],
  };
  assert.deepEqual(notCovered([READ], [wanted]), [
    { verbs: ['get'], apiGroups: ['windlass.dev'], resources: ['images'] },
    { verbs: ['delete'], apiGroups: ['windlass.dev'], resources: ['containers'] },
    { verbs: ['delete'], apiGroups: ['windlass.dev'], resources: ['images'] },
  ]);
  assert.deepEqual(notCovered([READ], [READ]), []);
});

test('notCovered() holds a star only by a star, all names only by no names, a beginning of paths only by a longer star', () => {
  const missing = (held: PolicyRule, wanted: PolicyRule): number => notCovered([held], [wanted]).length;
  assert.equal(missing(READ, { ...READ, verbs: ['*'] }), 1);
  assert.equal(missing({ ...READ, verbs: ['*'] }, READ), 0);
  assert.equal(missing({ ...READ, resources: ['*'] }, { ...READ, resources: ['containers/status'] }), 0);
  assert.equal(missing(READ, { ...READ, resources: ['*'] }), 2);
  assert.equal(missing(READ, { ...READ, resources: ['*/status'] }), 2);
  assert.equal(missing({ ...READ, resourceNames: ['web'] }, READ), 2);
  assert.equal(missing({ ...READ, resourceNames: ['web'] }, { ...READ, resourceNames: ['web', 'db'] }), 2);
  assert.equal(missing(READ, { ...READ, resourceNames: ['web'] }), 0);
  const paths = (...nonResourceURLs: string[]): PolicyRule => ({ verbs: ['get'], nonResourceURLs });
  assert.equal(missing(paths('/logs/*'), paths('/logs/a/*')), 0);
  assert.equal(missing(paths('/logs/a'), paths('/logs/*')), 1);
});
