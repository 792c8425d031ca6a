import { z } from 'zod';
import { loadConfig } from '../../lib/config.ts';
import type { Command } from '../command.ts';
import { readVersion } from '../../lib/version.ts';

export const versionCommand: Command = {
  name: 'version',
  summary: 'Print the version of windlass and of the Node it runs on',
  usage: 'windlass version [--output json]',
  flags: [{ flag: '--output FORMAT', text: 'text (default) or json' }],
  examples: ['windlass version', 'windlass version --output json'],
  run({ argv, env, output }) {
    const { config } = loadConfig(z.object({ output: z.enum(['text', 'json']).default('text') }), { argv, env });
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
