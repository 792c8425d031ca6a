// The form of a cron expression as one regular expression, so that the server refuses nonsense by itself. Generated:
// five fields, each a list of values, ranges and steps. No backslash and no quote, as worded() wants it.

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const DAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

const anyCase = (word: string): string => word.replaceAll(/[A-Z]/g, (letter) => `[${letter}${letter.toLowerCase()}]`);

function field(value: string, step: string): string {
  const item = `(([*]|(${value})-(${value}))(/(${step}))?|(${value}))`;
  return `${item}(,${item})*`;
}

const FIELDS = [
  field('[0-5]?[0-9]', '[1-9]|[1-5][0-9]'),
  field('[01]?[0-9]|2[0-3]', '[1-9]|1[0-9]|2[0-3]'),
  field('0?[1-9]|[12][0-9]|3[01]', '[1-9]|[12][0-9]|3[01]'),
  field(['0?[1-9]|1[0-2]', ...MONTHS.map(anyCase)].join('|'), '[1-9]|1[0-2]'),
  field(['[0-7]', ...DAYS.map(anyCase)].join('|'), '[1-7]'),
];

/** `30 2 * * MON`, or `@daily` and the like. Ranges that run backwards and dates that never come are not seen here. */
export const CRON = `^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|${FIELDS.join(' +')})$`;
export const CRON_WORDS =
  'must be minute (0-59) hour (0-23) day (1-31) month (1-12 or JAN-DEC) weekday (0-7 or SUN-SAT), e.g. 30 2 * * 1, or @daily and the like';
