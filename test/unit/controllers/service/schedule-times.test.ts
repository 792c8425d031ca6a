import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scheduleTimes } from '../../../../controllers/service/schedule-times.ts';
import { TerminalError } from '../../../../lib/errors.ts';

function after(cron: string, timeZone: string, from: string, count: number): string[] {
  const times = scheduleTimes({ cron, timeZone });
  const found: string[] = [];
  let at = Date.parse(from);
  while (found.length < count) {
    at = times.next(at) ?? Number.NaN;
    found.push(new Date(at).toISOString().slice(5, 16));
  }
  return found;
}

const CASES: readonly [name: string, cron: string, timeZone: string, from: string, times: string[]][] = [
  ['UTC', '30 2 * * *', 'UTC', '2026-03-28T12:00Z', ['03-29T02:30', '03-30T02:30']],
  [
    'a time in the gap comes right after it',
    '30 2 * * *',
    'Europe/Berlin',
    '2026-03-28T12:00Z',
    ['03-29T01:00', '03-30T00:30'],
  ],
  [
    'a time that is there twice comes once',
    '30 2 * * *',
    'Europe/Berlin',
    '2026-10-24T12:00Z',
    ['10-25T00:30', '10-26T01:30'],
  ],
  [
    'every hour stays every hour in spring',
    '0 * * * *',
    'Europe/Berlin',
    '2026-03-28T23:30Z',
    ['03-29T00:00', '03-29T01:00', '03-29T02:00'],
  ],
  [
    'every hour stays every hour in autumn',
    '0 * * * *',
    'Europe/Berlin',
    '2026-10-24T23:30Z',
    ['10-25T00:00', '10-25T01:00', '10-25T02:00'],
  ],
  ['half an hour of change', '0 3 * * *', 'Australia/Lord_Howe', '2026-04-03T12:00Z', ['04-03T16:00', '04-04T16:30']],
  ['words', '@weekly', 'UTC', '2026-03-28T12:00Z', ['03-29T00:00', '04-05T00:00']],
  ['Sunday is 0 and 7', '0 0 * * 7', 'UTC', '2026-03-28T12:00Z', ['03-29T00:00', '04-05T00:00']],
  ['day or weekday', '0 0 1 * MON', 'UTC', '2026-03-28T12:00Z', ['03-30T00:00', '04-01T00:00']],
  ['leap days', '0 0 29 2 *', 'UTC', '2026-03-28T12:00Z', ['02-29T00:00']],
];

for (const [name, cron, timeZone, from, times] of CASES) {
  test(`next(): ${name}`, () => assert.deepEqual(after(cron, timeZone, from, times.length), times));
}

test('last() is the newest time that is not after the given one, also across changes of the clock', () => {
  const cases: [cron: string, at: string, last: string][] = [
    ['30 2 * * *', '2026-03-29T00:59:59Z', '2026-03-28T01:30:00Z'],
    ['30 2 * * *', '2026-03-29T01:00:00Z', '2026-03-29T01:00:00Z'],
    ['30 2 * * *', '2026-10-25T01:30:00Z', '2026-10-25T00:30:00Z'],
    ['0 * * * *', '2026-10-25T01:30:00Z', '2026-10-25T01:00:00Z'],
    ['0 * * * *', '2026-10-25T01:00:00Z', '2026-10-25T01:00:00Z'],
    ['*/5 * * * *', '2026-10-25T00:04:59.999Z', '2026-10-25T00:00:00Z'],
  ];
  for (const [cron, at, last] of cases) {
    const found = scheduleTimes({ cron, timeZone: 'Europe/Berlin' }).last(Date.parse(at));
    assert.equal(new Date(found ?? Number.NaN).toISOString(), new Date(last).toISOString(), `${cron} at ${at}`);
  }
});

test('nonsense is refused with the name of the field and what would be right', () => {
  const refused = (cron: string, timeZone: string): string => {
    try {
      scheduleTimes({ cron, timeZone });
      return '';
    } catch (error) {
      assert.ok(error instanceof TerminalError);
      assert.equal(error.conditionReason, 'InvalidSchedule');
      return error.message;
    }
  };
  assert.match(refused('0 0 * * *', 'Mars/Phobos'), /^spec\.schedule\.timeZone: Mars\/Phobos is not.*Europe\/Berlin/);
  assert.match(refused('0 0 31 2 *', 'UTC'), /^spec\.schedule\.cron: 0 0 31 2 \*: never comes: want minute hour/);
  assert.match(refused('50-10 * * * *', 'UTC'), /^spec\.schedule\.cron: 50-10 .*larger.*want minute hour/);
});
