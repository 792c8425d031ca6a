import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_ROLES } from '../../../../apiserver/rbac/default-roles.ts';
import { aggregatedRules } from '../../../../apiserver/rbac/keep-roles.ts';
import { notCovered } from '../../../../apiserver/rbac/rules.ts';
import type { PolicyRule, RoleObject } from '../../../../crds/rbac.ts';

const named = (name: string): RoleObject => {
  const found = DEFAULT_ROLES.find(({ metadata }) => metadata.name === name);
  assert.ok(found, name);
  return found;
};

/** The default roles once all of them are put together. */
function settled(): Map<string, readonly PolicyRule[]> {
  let roles = [...DEFAULT_ROLES];
  for (let round = 0; round < 3; round += 1) {
    roles = roles.map((role) => (role.aggregationRule ? { ...role, rules: aggregatedRules(role, roles) } : role));
  }
  return new Map(roles.map(({ metadata, rules }) => [metadata.name, rules ?? []]));
}

test('what may be viewed may be edited, and what may be edited be given to others by an admin', () => {
  const rules = settled();
  const [view = [], edit = [], admin = []] = ['view', 'edit', 'admin'].map((name) => rules.get(name));
  assert.deepEqual(notCovered(edit, view), []);
  assert.deepEqual(notCovered(admin, edit), []);
  assert.notDeepEqual(notCovered(view, edit), []);
  assert.notDeepEqual(notCovered(edit, admin), []);
});

test('nobody sees Secrets, or gets a shell, by the role that views', () => {
  const view = settled().get('view') ?? [];
  const rule = (resource: string, verb: string): PolicyRule => ({
    apiGroups: [''],
    resources: [resource],
    verbs: [verb],
  });
  for (const wanted of [rule('secrets', 'get'), rule('pods/exec', 'create'), rule('pods/exec', 'get')]) {
    assert.equal(notCovered(view, [wanted]).length, 1, JSON.stringify(wanted));
  }
});

test('aggregatedRules() takes each rule once, of the roles that a selector fits, and never its own', () => {
  const rules = named('system:aggregate-to-view').rules ?? [];
  const twin = {
    ...named('system:aggregate-to-view'),
    metadata: { ...named('system:aggregate-to-view').metadata, name: 'b' },
  };
  assert.deepEqual(aggregatedRules(named('view'), [...DEFAULT_ROLES, twin]), rules);
});
