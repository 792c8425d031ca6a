import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expand, type ExpandOptions, MAX_WORD } from '../../../../builder/dockerfile/expand.ts';

const variables = new Map([
  ['HOME', '/root'],
  ['EMPTY', ''],
  ['FILE', 'archive.tar.gz'],
  ['PATHS', '/usr/local/bin'],
  ['WORDS', 'one  two'],
  ['STAR', 'a*b'],
  ['WIDE', 'größe😀x'],
]);

function value(word: string, options: Partial<ExpandOptions> = {}): string {
  try {
    return expand(word, { escape: '\\', variables, ...options }).text;
  } catch (error) {
    return `error: ${(error as Error).message}`;
  }
}

function check(cases: Readonly<Record<string, string>>, options: Partial<ExpandOptions> = {}): void {
  const found = Object.keys(cases).map((word) => [word, value(word, options)]);
  assert.deepEqual(Object.fromEntries(found), cases);
}

test('expand() removes quotes and escapes as a shell does', () => {
  check({
    plain: 'plain',
    'a "b c" d': 'a b c d',
    'a \'b "c"\' d': 'a b "c" d',
    'a\\ b': 'a b',
    '\\"': '"',
    '"a\\"b"': 'a"b',
    '"a\\nb"': 'a\\nb',
    "'a\\'": 'a\\',
    '"\\$HOME"': '$HOME',
    "'$HOME'": '$HOME',
    '"$HOME"': '/root',
    'end\\': 'end',
    '': '',
  });
});

test('expand() replaces variables, and leaves what is no name', () => {
  check({
    $HOME: '/root',
    '${HOME}': '/root',
    '$HOME/bin': '/root/bin',
    '${HOME}bin': '/rootbin',
    $HOMEbin: '',
    '$UNSET-': '-',
    $: '$',
    'a$.b': 'a$.b',
    $1x: 'x',
    '\\$HOME': '$HOME',
    '$(date)': '$(date)',
  });
});

test('expand() knows defaults, alternatives and demands, which may nest', () => {
  check({
    '${UNSET-x}': 'x',
    '${UNSET:-x}': 'x',
    '${EMPTY-x}': '',
    '${EMPTY:-x}': 'x',
    '${HOME:-x}': '/root',
    '${UNSET+x}': '',
    '${EMPTY+x}': 'x',
    '${EMPTY:+x}': '',
    '${HOME:+x}': 'x',
    '${UNSET:-${HOME}/y}': '/root/y',
    '${UNSET:-"a}b"}': 'a}b',
    '${HOME?}': '/root',
    '${UNSET?}': 'error: UNSET: must not be unset',
    '${EMPTY?}': '',
    '${EMPTY:?}': 'error: EMPTY: must not be empty',
    '${EMPTY:?give it a value}': 'error: EMPTY: give it a value',
  });
});

test('expand() trims and replaces with patterns', () => {
  check({
    '${FILE#*.}': 'tar.gz',
    '${FILE##*.}': 'gz',
    '${FILE%.*}': 'archive.tar',
    '${FILE%%.*}': 'archive',
    '${PATHS##*/}': 'bin',
    '${PATHS#/usr}': '/local/bin',
    '${PATHS%/???}': '/usr/local',
    '${PATHS/local/share}': '/usr/share/bin',
    '${PATHS/\\//-}': '-usr/local/bin',
    '${PATHS//\\//-}': '-usr-local-bin',
    '${FILE//a?/X}': 'Xchive.tX.gz',
    '${STAR%\\**}': 'a',
    '${STAR/\\*/+}': 'a+b',
    '${WIDE%?x}': 'größe',
    '${WIDE#gr?}': 'ße😀x',
    '${UNSET#x}': '',
    '${FILE#\\q}': 'error: bad escape \\q in the pattern',
  });
});

test('expand() refuses what is not closed and what it does not know', () => {
  check({
    '"a': 'error: missing closing double quote',
    "'a": 'error: missing closing single quote',
    '${': 'error: missing }',
    '${HOME': 'error: missing }',
    '${HOME:-x': 'error: missing }',
    '${HOME/a}': 'error: missing /',
    '${}': 'error: bad substitution',
    '${{x}': 'error: bad substitution',
    '${:x}': 'error: bad substitution',
    '${HOME^^}': 'error: unsupported modifier ^',
    '${HOME:=x}': 'error: unsupported modifier :=',
    '${HOME:#x}': 'error: unsupported modifier :#',
    '${HOME:0}': 'error: unsupported modifier :0',
  });
});

test('expand() takes another escape', () => {
  check({ 'C:\\dir': 'C:\\dir', 'a` b': 'a b', '`$HOME': '$HOME', '"`""': '"' }, { escape: '`' });
});

test('expand() leaves quotes of a here-document alone', () => {
  check({ 'say "$HOME" it\'s': 'say "/root" it\'s', '\\$HOME': '$HOME' }, { hasPlainQuotes: true });
});

test('expand() splits at blanks that are not quoted, also those of variables', () => {
  const words = (word: string) => expand(word, { escape: '\\', variables }).words;
  assert.deepEqual(words('$WORDS "$WORDS" a\\ b  ""'), ['one', 'two', 'one  two', 'a b']);
  assert.deepEqual(words('a$WORDS<< EOF'), ['aone', 'two<< EOF']);
});

test('expand() tells which variables it looked up, those with a default aside', () => {
  const { used, unset } = expand('$HOME $A ${B:-x} ${C#x} "$D" \'$E\'', { escape: '\\', variables });
  assert.deepEqual([[...used], [...unset]], [['HOME'], ['A', 'C', 'D']]);
});

test('expand() is bounded: results, nesting and patterns', () => {
  const long = new Map([['X', 'x'.repeat(MAX_WORD)]]);
  assert.match(value('$X$X', { variables: long }), /expands to more than 131071 characters/);
  assert.match(value('${A:-'.repeat(5000)), /nested more than 100 deep/);
  assert.match(value(`\${X#${'?'.repeat(2000)}}`, { variables: new Map([['X', 'x']]) }), /more than 1000 characters/);
  assert.match(value(`\${X##${'*x'.repeat(400)}y}`.repeat(50), { variables: long }), /too much to match/);
});
