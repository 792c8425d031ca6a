import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration, parseDuration } from '../../../../builder/instructions/duration.ts';

test('parseDuration() takes what Go takes, and nothing else', () => {
  const cases: Readonly<Record<string, number | undefined>> = {
    '0': 0,
    '1s': 1e9,
    '+1m30s': 90e9,
    '1.5h': 5400e9,
    '.5s': 5e8,
    '1h1m1s1ms1us1ns': 3_661_001_001_001,
    '2µs': 2000,
    '': undefined,
    '+': undefined,
    '5': undefined,
    '-1s': undefined,
    '1 s': undefined,
    '1d': undefined,
    s: undefined,
    '9999999h': undefined,
  };
  const found = Object.keys(cases).map((text) => [text, parseDuration(text)]);
  assert.deepEqual(Object.fromEntries(found), cases);
});

test('formatDuration() prints as Go does', () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, '0s'],
    [1, '1ns'],
    [1500, '1.5µs'],
    [15e6, '15ms'],
    [1e9, '1s'],
    [1.5e9, '1.5s'],
    [60e9, '1m0s'],
    [3600e9, '1h0m0s'],
    [3_661_000_000_001, '1h1m1.000000001s'],
  ];
  for (const [nanoseconds, text] of cases) assert.equal(formatDuration(nanoseconds), text);
});
