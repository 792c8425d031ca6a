import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chooseFormat } from '../../../../apiserver/routes/answer-format.ts';
import { mergePatch } from '../../../../apiserver/routes/patch-documents.ts';
import { readOptionsOf, timeoutOf } from '../../../../apiserver/routes/request-options.ts';
import { parseResourcePath } from '../../../../apiserver/routes/resource-path.ts';
import { toStatus } from '../../../../apiserver/routes/status.ts';
import { reasonOf, WindlassError } from '../../../../lib/errors.ts';

describe('parseResourcePath()', () => {
  const cases: [path: string, expected: string][] = [
    ['/api/v1/pods', '/v1/pods///'],
    ['/api/v1/namespaces', '/v1/namespaces///'],
    ['/api/v1/namespaces/a', '/v1/namespaces//a/'],
    ['/api/v1/namespaces/a/finalize', '/v1/namespaces//a/finalize'],
    ['/api/v1/namespaces/a/pods', '/v1/pods/a//'],
    ['/api/v1/namespaces/a/pods/b/log', '/v1/pods/a/b/log'],
    ['/apis/windlass.dev/v1/namespaces/a/services/b/scale', 'windlass.dev/v1/services/a/b/scale'],
    [
      '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/a.b',
      'apiextensions.k8s.io/v1/customresourcedefinitions//a.b/',
    ],
  ];
  for (const [path, expected] of cases) {
    it(`reads ${path}`, () => {
      const { group, version, plural, namespace, name, subresource } =
        parseResourcePath(path) ?? assert.fail('no path');
      assert.equal([group, version, plural, namespace, name, subresource].join('/'), expected);
    });
  }
  it('finds nothing in other paths', () => {
    for (const path of ['/', '/api', '/api/v1', '/apis/a/v1', '/version', '/apis/a/v1/b/c/d/e', '/api/v1/%zz']) {
      assert.equal(parseResourcePath(path), undefined, path);
    }
  });
});

describe('chooseFormat()', () => {
  const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io';
  it('takes the first form it can write, by quality', () => {
    assert.equal(chooseFormat('').as, 'object');
    assert.equal(chooseFormat(`${TABLE},application/json`).as, 'table');
    assert.equal(chooseFormat(`${TABLE},application/json`, { tables: false }).as, 'object');
    assert.equal(chooseFormat('application/json;as=Table;v=v9;g=meta.k8s.io,application/json').as, 'object');
    assert.equal(chooseFormat('application/vnd.kubernetes.protobuf, */*').encoding, 'json');
    assert.equal(chooseFormat('application/json;q=0.1, application/yaml').encoding, 'yaml');
    assert.equal(chooseFormat('application/json;stream=watch').as, 'object');
    assert.equal(chooseFormat('application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io').as, 'metadata');
    assert.equal(chooseFormat(`${TABLE.replace('v1', 'v1beta1')},application/json`).version, 'v1beta1');
  });
  it('refuses what it cannot write', () => {
    assert.throws(
      () => chooseFormat('image/png'),
      (error) => reasonOf(error) === 'NotAcceptable',
    );
  });
});

describe('timeoutOf()', () => {
  const read = (text: string): number => timeoutOf(new URLSearchParams({ timeout: text }));
  it('reads durations as Go writes them, up to a minute', () => {
    const shown = ['32s', '1500ms', '1m30s', '0.5s', '1.5s20ms', '10', '0s', '', '30us', '2h'].map(read);
    assert.deepEqual(shown, [32_000, 1500, 60_000, 500, 1520, 10_000, 60_000, 60_000, 0.03, 60_000]);
  });
  it('refuses anything else', () => {
    for (const text of ['soon', '1x', '1s ', '-1s', '1s2', '1..2s', 's', '1e3']) {
      assert.throws(() => read(text), /invalid timeout specified in the request URL/, text);
    }
  });
});

describe('mergePatch()', () => {
  it('follows the examples of RFC 7386', () => {
    assert.deepEqual(mergePatch({ a: 'b' }, { a: 'c' }), { a: 'c' });
    assert.deepEqual(mergePatch({ a: 'b', b: 'c' }, { a: null }), { b: 'c' });
    assert.deepEqual(mergePatch({ a: { b: 'c' } }, { a: { b: 'd', c: null } }), { a: { b: 'd' } });
    assert.deepEqual(mergePatch({ a: [{ b: 'c' }] }, { a: [1] }), { a: [1] });
    assert.deepEqual(mergePatch({ e: null }, { a: 1 }), { e: null, a: 1 });
    assert.deepEqual(mergePatch({}, { a: { bb: { ccc: null } } }), { a: { bb: {} } });
    assert.deepEqual(mergePatch([1, 2], { a: 'b', c: null }), { a: 'b' });
  });
  it('does not reach a prototype', () => {
    const patched = mergePatch({}, JSON.parse('{"__proto__":{"x":1}}')) as { x?: number };
    assert.equal(patched.x, undefined);
    assert.equal(({} as { x?: number }).x, undefined);
  });
});

describe('readOptionsOf()', () => {
  const read = (text: string) => readOptionsOf(new URLSearchParams(text));
  it('reads the rows of the version matrix', () => {
    assert.deepEqual(read(''), { limit: 0 });
    assert.deepEqual(read('resourceVersion=0'), { limit: 0, revision: 0 });
    assert.deepEqual(read('resourceVersion=7&resourceVersionMatch=Exact'), { limit: 0, revision: 7, match: 'Exact' });
    assert.deepEqual(read('resourceVersion=7&limit=5'), { limit: 5, revision: 7, match: 'Exact' });
    assert.deepEqual(read('resourceVersion=0&limit=500'), { limit: 500, revision: 0 });
    assert.deepEqual(read('continue=abc&limit=5&resourceVersion=0'), { limit: 5, continueToken: 'abc' });
  });
  it('refuses the combinations that mean nothing', () => {
    for (const bad of [
      'resourceVersionMatch=Exact',
      'resourceVersion=0&resourceVersionMatch=Exact',
      'resourceVersion=1&resourceVersionMatch=Some',
      'continue=a&resourceVersion=5',
      'resourceVersion=-1',
      'limit=x',
    ]) {
      assert.throws(
        () => read(bad),
        (error) => ['Invalid', 'BadRequest'].includes(String(reasonOf(error))),
        bad,
      );
    }
  });
});

describe('toStatus()', () => {
  it('has details, if empty ones, where clients read them without asking', () => {
    assert.deepEqual(toStatus(new WindlassError('NotFound', 'no such path')).details, {});
    assert.equal(toStatus(new WindlassError('Unauthorized', 'Unauthorized')).details, undefined);
  });
  it('carries causes, and a token to go on with', () => {
    const status = toStatus(new WindlassError('Expired', 'too old', { details: { continueToken: 'abc' } }));
    assert.deepEqual(status, {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: { continue: 'abc' },
      status: 'Failure',
      message: 'too old',
      reason: 'Expired',
      code: 410,
    });
  });
  it('does not show the inside of the server', () => {
    const status = toStatus(new Error('password=secret'));
    assert.equal(status.code, 500);
    assert.doesNotMatch(JSON.stringify(status), /secret/);
  });
});
