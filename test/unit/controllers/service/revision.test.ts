import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  hashTemplate,
  pruneRevisions,
  recordRevision,
  revisionOf,
  type Revision,
  type Template,
  hashSettings,
  isHashOfSettings,
} from '../../../../controllers/service/revision.ts';
import { makeService, NOW } from '../../../support/objects.ts';

const template = (version: string, padding = '') =>
  makeService('web', { template: { env: [{ name: 'V', value: version + padding }] } }).spec.template;

function record(...versions: string[]): readonly Revision[] {
  return versions.reduce<readonly Revision[]>((history, one) => recordRevision(history, template(one), NOW), []);
}
const numbers = (history: readonly Revision[]): number[] => history.map(({ revision }) => revision);

test('recordRevision() numbers templates, and one that comes back has the number it had', () => {
  const history = record('a', 'b', 'a', 'c', 'b');
  assert.deepEqual(numbers(history), [1, 2, 3]);
  assert.deepEqual(
    history.map(({ hash }) => hash),
    ['a', 'b', 'c'].map((one) => hashTemplate(template(one))),
  );
  assert.deepEqual(history[0]?.template, template('a'));
});

test('hashTemplate() is of what was written: a default that is written out is the same', () => {
  const [first] = record('a');
  const written = { metadata: {}, spec: { image: 'web', env: [{ name: 'V', value: 'a' }] } };
  const hash = (spec: object) => hashTemplate({ spec: { ...written.spec, ...spec } } as Template);
  assert.equal(hash({}), hash({ restartPolicy: 'Always', tty: false }));
  assert.notEqual(hash({}), hash({ restartPolicy: 'Never' }));
  assert.notEqual(hash({}), first?.hash);
});

test('revisionOf() finds what an earlier version hashed otherwise, so that nothing is replaced', () => {
  const [known] = record('a') as [Revision];
  const early = { ...known, hash: '0123456789' };
  assert.equal(revisionOf([early], template('a')), early);
  assert.equal(recordRevision([early], template('a'), NOW)[0]?.hash, '0123456789');
  assert.equal(revisionOf([early], template('b')), undefined);
});

test('pruneRevisions() forgets the oldest that are not in use, and never the highest number', () => {
  const history = record('a', 'b', 'c', 'd', 'e');
  const hash = (one: string) => hashTemplate(template(one));
  const at = (limit: number, ...used: string[]) =>
    numbers(pruneRevisions(history, { limit, inUse: new Set(used.map(hash)) }));
  assert.deepEqual(at(10, 'e'), [1, 2, 3, 4, 5]);
  assert.deepEqual(at(2, 'e'), [3, 4, 5]);
  assert.deepEqual(at(0, 'b'), [2, 5]);
  assert.deepEqual(at(1, 'a', 'e'), [1, 4, 5]);
});

test('pruneRevisions() keeps the history small, whatever the templates', () => {
  const padding = 'x'.repeat(100_000);
  const history = ['a', 'b', 'c', 'd'].reduce<readonly Revision[]>(
    (before, one) => recordRevision(before, template(one, padding), NOW),
    [],
  );
  assert.deepEqual(numbers(pruneRevisions(history, { limit: 10, inUse: new Set() })), [3, 4]);
});

test('isHashOfSettings() knows what an older version wrote of the same settings', () => {
  const fields = {
    minReadySeconds: 0,
    rollbackTo: undefined,
    template: { spec: { image: 'web', tty: false } },
  } as never;
  assert.equal(isHashOfSettings('fc8d8b7268', fields), true);
  assert.equal(isHashOfSettings(hashSettings(fields), fields), true);
  assert.equal(isHashOfSettings('0000000000', fields), false);
});
