import type { HealthcheckInstruction } from '../dockerfile/ast.ts';
import { readFlags, type Flags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource, jsonStrings } from '../dockerfile/instruction-source.ts';
import { quote } from '../dockerfile/syntax-error.ts';
import { warnOfBrokenJson } from './command-form.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { formatList } from './history-text.ts';
import type { Change, Scope } from './scope.ts';
import { setOnce } from './set-once.ts';

const FLAGS = {
  interval: 'text',
  timeout: 'text',
  'start-period': 'text',
  'start-interval': 'text',
  retries: 'text',
} as const;
type FlagName = keyof typeof FLAGS;
const MAX_RETRIES = 2 ** 31 - 1;
const MILLISECOND = 1e6;

export function parseHealthcheck(source: InstructionSource): HealthcheckInstruction {
  const flags = readFlags(source, FLAGS);
  const [, type = '', blanks = '', command = ''] = /^(\S*)(\s*)(.*)$/s.exec(source.rest) ?? [];
  const offset = type.length + blanks.length;
  const common = commonFields(source);
  switch (type.toUpperCase()) {
    case 'NONE':
      if (command !== '') throw source.error('HEALTHCHECK NONE takes no arguments', offset);
      if (source.flags[0]) throw source.flagError('HEALTHCHECK NONE takes no flags', source.flags[0]);
      return { kind: 'HEALTHCHECK', ...common };
    case 'CMD':
      return { kind: 'HEALTHCHECK', ...common, check: parseCheck(source, flags, command, offset) };
    case '':
      throw source.error('HEALTHCHECK needs CMD and a command, or NONE');
    default:
      throw source.error(`HEALTHCHECK takes CMD or NONE, not ${quote(type)}`, 0);
  }
}

function parseCheck(
  source: InstructionSource,
  flags: Flags<FlagName>,
  command: string,
  offset: number,
): NonNullable<HealthcheckInstruction['check']> {
  const args = jsonStrings(source, offset);
  if (command === '' || args?.length === 0) {
    throw source.error('HEALTHCHECK CMD needs a command');
  }
  warnOfBrokenJson(source, command);
  const duration = (name: FlagName): number => {
    const written = flags.text(name) ?? '0';
    const value = parseDuration(written);
    if (value !== undefined && (value === 0 || value >= MILLISECOND)) return value;
    throw source.error(`--${name} must be 0 or a duration from 1ms on, such as 30s or 1m30s, not ${quote(written)}`);
  };
  const retries = flags.text('retries') ?? '0';
  if (!/^[0-9]{1,10}$/.test(retries) || Number(retries) > MAX_RETRIES) {
    throw source.error(`--retries must be a number from 0 on, not ${quote(retries)}`);
  }
  return {
    command: args === undefined ? { form: 'shell', line: command } : { form: 'exec', args },
    interval: duration('interval'),
    timeout: duration('timeout'),
    startPeriod: duration('start-period'),
    startInterval: duration('start-interval'),
    retries: Number(retries),
  };
}

export function evaluateHealthcheck(instruction: HealthcheckInstruction, scope: Scope): Change {
  const { state } = scope;
  const { check } = instruction;
  const Test = check === undefined ? ['NONE'] : testOf(check.command);
  const { interval = 0, timeout = 0, startPeriod = 0, startInterval = 0, retries = 0 } = check ?? {};
  // As in images of others, what is inherited is not there.
  const Healthcheck = {
    Test,
    Interval: interval || undefined,
    Timeout: timeout || undefined,
    StartPeriod: startPeriod || undefined,
    StartInterval: startInterval || undefined,
    Retries: retries || undefined,
  };
  const fields = [
    `Test:${formatList(Test)}`,
    `Interval:${formatDuration(interval)}`,
    `Timeout:${formatDuration(timeout)}`,
    `StartPeriod:${formatDuration(startPeriod)}`,
    `StartInterval:${formatDuration(startInterval)}`,
    `Retries:${retries}`,
  ];
  const set = setOnce(instruction, scope);
  const config = { ...state.config, Healthcheck };
  return { state: { ...state, set, config }, createdBy: `HEALTHCHECK {${fields.join(' ')}}` };
}

function testOf(command: NonNullable<HealthcheckInstruction['check']>['command']): string[] {
  return command.form === 'exec' ? ['CMD', ...command.args] : ['CMD-SHELL', command.line];
}
