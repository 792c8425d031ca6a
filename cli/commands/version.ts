import { z } from 'zod';
import { loadConfig } from '../../lib/config.ts';
import type { Command } from '../command.ts';
import { readVersion } from '../../lib/version.ts';

export const versionCommand: Command = {
  name: 'version',
  summary: 'Print the version of windlass and of the Node it runs on',
  usage: 'windlass version [-o json]',
  flags: [{ flag: '-o, --output FORMAT', text: 'text (default) or json' }],
  examples: ['windlass version', 'windlass version -o json'],
  run({ argv, env, output }) {
    const options = z.object({ output: z.enum(['text', 'json']).default('text') });
    const { config } = loadConfig(options, { argv: argv.map((word) => (word === '-o' ? '--output' : word)), env });
    const facts = {
      windlass: readVersion(),
      node: process.versions.node,
      platform: `${process.platform}/${process.arch}`,
    };
    output.print(
      config.output === 'json'
        ? JSON.stringify(facts)
        : `windlass ${facts.windlass} (node ${facts.node}, ${facts.platform})`,
    );
    return Promise.resolve(0);
  },
};
