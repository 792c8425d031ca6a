import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beyondBudgets } from '../../../../controllers/disruption/violations.ts';
import { makeBudget, makeContainer } from '../../../support/objects.ts';

const of = (app: string, name: string) => makeContainer(name, { metadata: { labels: { app } } });
const names = (...args: Parameters<typeof beyondBudgets>): string[] =>
  [...beyondBudgets(...args)].map(({ metadata }) => metadata.name);

test('beyondBudgets() lets go as many as each budget allows, in the order given', () => {
  const containers = [of('a', 'a1'), of('b', 'b1'), of('a', 'a2'), of('none', 'n1')];
  const budgets = [
    makeBudget('a', { status: { disruptionsAllowed: 1 } }),
    makeBudget('b', { status: { disruptionsAllowed: 0 } }),
  ];
  assert.deepEqual(names(containers, budgets), ['b1', 'a2']);
  assert.deepEqual(names(containers, []), []);
  assert.deepEqual(names(containers, [makeBudget('a')]), ['a1', 'a2']);
});

test('beyondBudgets() does not count twice what was granted to go', () => {
  const budget = makeBudget('a', { status: { disruptionsAllowed: 0, disruptedPods: { a1: '2026-01-01T00:00:00Z' } } });
  assert.deepEqual(names([of('a', 'a1'), of('a', 'a2')], [budget]), ['a2']);
  assert.deepEqual(names([of('a', 'constructor')], [budget]), ['constructor']);
});

test('beyondBudgets() looks at the namespace of a budget only, and a budget without selector keeps nothing', () => {
  const elsewhere = makeContainer('x', { metadata: { namespace: 'other', labels: { app: 'a' } } });
  assert.deepEqual(names([elsewhere], [makeBudget('a')]), []);
  assert.deepEqual(names([of('a', 'a1')], [makeBudget('a', { selector: null })]), []);
  assert.deepEqual(names([of('a', 'a1')], [makeBudget('a', { selector: {} })]), ['a1']);
});
