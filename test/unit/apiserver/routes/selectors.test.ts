import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseFieldSelector, parseLabelSelector } from '../../../../apiserver/routes/selectors.ts';
import type { Resource, StoredObject } from '../../../../apiserver/resources/resource.ts';
import { reasonOf } from '../../../../lib/errors.ts';

const labelled = (labels: Record<string, string>): StoredObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'x', namespace: 'default', labels },
});

describe('parseLabelSelector()', () => {
  const cases: [selector: string, labels: Record<string, string>, matches: boolean][] = [
    ['', {}, true],
    ['a=b', { a: 'b' }, true],
    ['a==b', { a: 'c' }, false],
    ['a!=b', {}, true],
    ['a!=b', { a: 'b' }, false],
    ['a', { a: '' }, true],
    ['!a', { a: '' }, false],
    ['!a', {}, true],
    ['a in (b, c)', { a: 'c' }, true],
    ['a in (b,c),d', { a: 'c' }, false],
    ['a notin (b)', {}, true],
    ['a notin (b)', { a: 'b' }, false],
    ['a=', { a: '' }, true],
    ['example.com/a=b', { 'example.com/a': 'b' }, true],
    ['n>5', { n: '6' }, true],
    ['n<5', { n: '6' }, false],
    ['n<5', { n: '' }, false],
    ['toString', {}, false],
  ];
  for (const [selector, labels, expected] of cases) {
    it(`${JSON.stringify(selector)} ${expected ? 'matches' : 'does not match'} ${JSON.stringify(labels)}`, () => {
      assert.equal(parseLabelSelector(selector)(labelled(labels)), expected);
    });
  }
  for (const bad of [
    'a b c',
    '=b',
    'a in b',
    'a=b=c',
    'a=-b',
    'a,,b',
    'a in (b',
    'n>x',
    'n<',
    'ä=b',
    `a=${'x'.repeat(64)}`,
  ]) {
    it(`refuses ${JSON.stringify(bad)}`, () => {
      assert.throws(
        () => parseLabelSelector(bad),
        (error) => reasonOf(error) === 'BadRequest',
      );
    });
  }
});

describe('parseFieldSelector()', () => {
  const resource = {
    namespaced: true,
    selectableFieldNames: ['spec.nodeName'],
    selectableFields: (object: StoredObject) => ({
      'spec.nodeName': (object['spec'] as { nodeName: string }).nodeName,
    }),
  } as unknown as Resource;
  const object: StoredObject = { ...labelled({}), spec: { nodeName: 'a,b' } };

  it('matches names, namespaces and the fields of the resource', () => {
    const matches = (text: string): boolean => parseFieldSelector(text, resource).matches(object);
    assert.equal(matches('metadata.name=x,metadata.namespace==default'), true);
    assert.equal(matches('metadata.name!=x'), false);
    assert.equal(matches('spec.nodeName=a\\,b'), true);
    assert.equal(parseFieldSelector('metadata.name=x', resource).name, 'x');
  });

  it('refuses fields that the resource does not offer, and nonsense', () => {
    for (const bad of ['spec.other=1', 'metadata.uid=1', 'nonsense']) {
      assert.throws(
        () => parseFieldSelector(bad, resource),
        (error) => reasonOf(error) === 'BadRequest',
      );
    }
  });
});
