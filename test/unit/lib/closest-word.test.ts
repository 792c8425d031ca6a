import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closestWord } from '../../../lib/closest-word.ts';

test('closestWord() gives the nearest candidate within two edits', () => {
  const words = ['COPY', 'CMD', 'ENV', 'RUN'];
  const closest = (word: string) => closestWord(word, words);
  assert.deepEqual(['COPPY', 'CPOY', 'RUNN', 'EMV', 'COPY'].map(closest), ['COPY', 'COPY', 'RUN', 'ENV', 'COPY']);
  // ENV is two edits away, and RUN one: its last two letters have changed places.
  assert.equal(closest('RNU'), 'RUN');
  assert.deepEqual(['', 'X', 'KUBERNETES', 'copy'].map(closest), [undefined, undefined, undefined, undefined]);
});

test('closestWord() does not compare what takes long', () => {
  const long = 'x'.repeat(100_000);
  assert.equal(closestWord(long, [long]), undefined);
  assert.equal(
    closestWord(
      'word',
      Array.from({ length: 2000 }, (_, index) => (index === 1999 ? 'words' : 'zzzz')),
    ),
    undefined,
  );
});
