import assert from 'node:assert/strict';
import test from 'node:test';
import type { Command } from '../../../cli/command.ts';
import { renderCommandHelp, suggestCommand } from '../../../cli/help.ts';

const makeCommand = (name: string): Command => ({
  name,
  summary: `Does ${name}`,
  usage: `windlass ${name}`,
  flags: [{ flag: '--home DIR', text: 'state folder' }],
  examples: [`windlass ${name} --home /srv`],
  run: () => Promise.resolve(0),
});
const commands = ['up', 'down', 'doctor', 'version'].map(makeCommand);

test('suggestCommand() names the nearest command and stays silent when none is near', () => {
  assert.deepEqual(
    ['dwon', 'Up', 'doctro', 'hlep', 'compose'].map((word) => suggestCommand(word, commands)),
    ['down', 'up', 'doctor', 'help', undefined],
  );
});

test('renderCommandHelp() shows usage, flags, examples and exit codes', () => {
  const text = renderCommandHelp(makeCommand('up'));
  for (const part of ['Usage: windlass up', '--home DIR', 'windlass up --home /srv', 'Exit codes'])
    assert.ok(text.includes(part), part);
});
