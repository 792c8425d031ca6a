import { loadConfig } from '../../lib/config.ts';
import { runChecks, thisHost, type CheckResult } from '../checks.ts';
import type { Command } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { instanceFlags, upOptions } from '../options.ts';

export const doctorCommand: Command = {
  name: 'doctor',
  summary: 'Check that this machine has what windlass needs, one line each',
  usage: 'windlass doctor [flags]',
  flags: [...instanceFlags, { flag: '--listen HOST:PORT', text: 'API server address to check' }],
  examples: ['windlass doctor', 'windlass doctor --listen 127.0.0.1:7443'],
  async run({ argv, env, output }) {
    const { config } = loadConfig(upOptions, { argv, env });
    const results = await runChecks(thisHost(env['PATH']), config);
    const width = Math.max(...results.map(({ name }) => name.length)) + 2;
    output.print(results.map((result) => renderResult(result, width)).join('\n'));
    const missing = results.filter(({ status }) => status === 'missing').length;
    output.note(missing === 0 ? '\nready for: windlass up' : `\n${missing} missing: see the lines above`);
    return missing === 0 ? EXIT.ok : EXIT.failure;
  },
};

const renderResult = ({ name, status, detail }: CheckResult, width: number): string =>
  `${status.padEnd(8)} ${name.padEnd(width)}${detail}`;
