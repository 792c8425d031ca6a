import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeBody } from '../../../../apiserver/routes/body.ts';
import { parsePatch } from '../../../../apiserver/routes/patch-documents.ts';
import type { StoredObject } from '../../../../apiserver/resources/resource.ts';
import { reasonOf } from '../../../../lib/errors.ts';
import { makeResource } from '../resource.ts';

const json = 'application/json';
const yaml = 'application/yaml';
const nested = (levels: number): string => `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`;
const isRefused = (reason: string, words: RegExp) => (error: unknown) =>
  reasonOf(error) === reason && words.test((error as Error).message);

describe('decodeBody()', () => {
  it('reads JSON and YAML and says what is written twice', () => {
    const expected = { object: { a: 2, b: { c: 1 } }, duplicates: ['a'] };
    assert.deepEqual(decodeBody(Buffer.from('{"a":1,"a":2,"b":{"c":1}}'), json), expected);
    assert.deepEqual(decodeBody(Buffer.from('a: 1\na: 2\nb: { c: 1 }\n'), yaml), expected);
  });
  it('reads less of YAML than of JSON, since it takes longer', () => {
    const text = `metadata: {name: a}\n${'# filler\n'.repeat(70_000)}`;
    assert.throws(
      () => decodeBody(Buffer.from(text), yaml),
      isRefused('RequestEntityTooLarge', /limit for YAML is 524288, send JSON/),
    );
  });
  it('refuses what is not one object', () => {
    assert.throws(() => decodeBody(Buffer.from('{"a":'), json), isRefused('BadRequest', /json parse error/));
    assert.throws(() => decodeBody(Buffer.from('a: [\n'), yaml), isRefused('BadRequest', /converting YAML/));
    assert.throws(() => decodeBody(Buffer.from('a: 1\n---\nb: 1\n'), yaml), isRefused('BadRequest', /exactly one/));
    assert.throws(() => decodeBody(Buffer.from('[]'), json), isRefused('BadRequest', /not an object/));
    assert.throws(() => decodeBody(Buffer.from('<a/>'), 'text/xml'), isRefused('UnsupportedMediaType', /unknown/));
  });
  it('refuses nesting without end, and takes what is merely deep', () => {
    decodeBody(Buffer.from(nested(900)), json);
    for (const levels of [1_001, 200_000]) {
      assert.throws(() => decodeBody(Buffer.from(nested(levels)), json), isRefused('BadRequest', /1000 levels/));
    }
    for (const levels of [1_001, 20_000]) {
      assert.throws(() => decodeBody(Buffer.from(nested(levels)), yaml), isRefused('BadRequest', /1000 levels/));
    }
  });
});

describe('parsePatch()', () => {
  const type = 'application/json-patch+json';
  const object = (): StoredObject => ({ metadata: { name: 'a' }, spec: { x: 'y' } }) as unknown as StoredObject;
  const patch = (operations: unknown): unknown =>
    parsePatch(Buffer.from(JSON.stringify(operations)), type, makeResource({})).apply(object());

  it('applies operations in order', () => {
    const operations = [
      { op: 'copy', from: '/spec', path: '/more' },
      { op: 'add', path: '/more/z', value: 1 },
      { op: 'test', path: '/spec/x', value: 'y' },
    ];
    assert.deepEqual(patch(operations), { ...object(), more: { x: 'y', z: 1 } });
  });
  it('refuses operations that do not fit', () => {
    for (const operations of [
      [{ op: 'test', path: '/spec/x', value: 'z' }],
      [{ op: 'copy', from: '/no', path: '/x' }],
      [null],
    ]) {
      assert.throws(() => patch(operations), isRefused('Invalid', /error in our request/), JSON.stringify(operations));
    }
  });
  it('refuses copies that grow without end', () => {
    const doubling = Array.from({ length: 60 }, (_, index) => ({ op: 'copy', from: '/spec', path: `/spec/d${index}` }));
    assert.throws(() => patch(doubling), isRefused('RequestEntityTooLarge', /copies of a JSON patch/));
  });
  it('refuses nesting without end built step by step', () => {
    const deeper = Array.from({ length: 1_100 }, (_, index) => ({
      op: 'add',
      path: `/spec${'/d'.repeat(index + 1)}`,
      value: {},
    }));
    assert.throws(() => patch(deeper), isRefused('BadRequest', /1000 levels/));
  });
});
