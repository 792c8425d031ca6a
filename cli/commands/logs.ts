import { z } from 'zod';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { readLines } from '../../client/read-lines.ts';
import { loadConfig } from '../../lib/config.ts';
import { WindlassError } from '../../lib/errors.ts';
import { paths } from '../../lib/instance.ts';
import type { Command } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { instanceFlags, instanceOf, instanceOptions } from '../options.ts';

const IMAGE_WORDS = ['image', 'images', 'img'];

const logsOptions = instanceOptions.extend({
  kubeconfig: z.string().optional(),
  namespace: z.string().optional(),
  follow: z.boolean().default(false),
  previous: z.boolean().default(false),
  timestamps: z.boolean().default(false),
  tail: z.coerce.number().int().min(0).optional(),
});

export const logsCommand: Command = {
  name: 'logs',
  summary: 'Print the log of the build of an Image',
  usage: 'windlass logs image/NAME [flags]',
  flags: [
    ...instanceFlags,
    { flag: '--kubeconfig FILE', text: 'whose (default: admin.kubeconfig in the state folder)' },
    { flag: '--namespace NAME', text: 'of the Image (default: that of the kubeconfig)' },
    { flag: '--follow', text: 'go on until the build is over' },
    { flag: '--previous', text: 'of the build before' },
    { flag: '--tail N', text: 'only the last N lines' },
    { flag: '--timestamps', text: 'begin each line with its time' },
  ],
  examples: ['windlass logs image/web --follow', 'windlass logs image/web --namespace shop --previous --tail 20'],
  async run({ argv, env, output, signal }) {
    const [word = '', ...rest] = argv;
    const name = nameOf(word);
    const { config } = loadConfig(logsOptions, { argv: rest, env });
    const connection = readKubeconfig(config.kubeconfig ?? paths.adminKubeconfig(instanceOf(config)));
    const namespace = encodeURIComponent(config.namespace ?? connection.namespace);
    const query = new URLSearchParams();
    for (const option of ['follow', 'previous', 'timestamps'] as const) if (config[option]) query.set(option, 'true');
    if (config.tail !== undefined) query.set('tailLines', String(config.tail));
    const path = `/apis/windlass.dev/v1/namespaces/${namespace}/images/${encodeURIComponent(name)}/log?${query}`;
    for await (const lines of readLines(connection, path, signal)) output.print(lines);
    return EXIT.ok;
  },
};

/** Throws BadRequest for anything but `image/NAME`. */
function nameOf(word: string): string {
  const [kind = '', name = '', ...more] = word.split('/');
  if (IMAGE_WORDS.includes(kind.toLowerCase()) && name !== '' && more.length === 0) return name;
  throw new WindlassError('BadRequest', 'want image/NAME after logs; kubectl logs NAME reads those of a container');
}
