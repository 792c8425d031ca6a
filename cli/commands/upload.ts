import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { PassThrough, type Readable } from 'node:stream';
import { z } from 'zod';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { upload } from '../../client/upload.ts';
import { loadConfig } from '../../lib/config.ts';
import { errnoOf, messageOf, WindlassError } from '../../lib/errors.ts';
import { paths } from '../../lib/instance.ts';
import type { Command } from '../command.ts';
import { EXIT } from '../exit-codes.ts';
import { instanceFlags, instanceOf, instanceOptions } from '../options.ts';

const uploadOptions = instanceOptions.extend({
  kubeconfig: z.string().optional(),
  namespace: z.string().optional(),
  onNode: z.string().optional(),
});

export const uploadCommand: Command = {
  name: 'upload',
  summary: 'Send a folder, or a tar, to be built from or imported, and print its digest',
  usage: 'windlass upload FOLDER|FILE [flags]',
  flags: [
    ...instanceFlags,
    { flag: '--kubeconfig FILE', text: 'whose (default: admin.kubeconfig in the state folder)' },
    { flag: '--namespace NAME', text: 'of the Images that may use it (default: that of the kubeconfig)' },
    { flag: '--on-node NAME', text: 'the node that keeps it (default: any)' },
  ],
  examples: [
    'windlass upload .',
    'windlass upload /srv/rootfs.tar.gz --namespace shop',
    'kubectl patch img web --type=merge -p "{\\"spec\\":{\\"build\\":{\\"context\\":{\\"archive\\":\\"$(windlass upload .)\\"}}}}"',
  ],
  async run({ argv, env, output, signal }) {
    const [path = '', ...rest] = argv;
    if (path === '' || path.startsWith('-')) {
      throw new WindlassError('BadRequest', 'want a folder or a file after upload');
    }
    const { config } = loadConfig(uploadOptions, { argv: rest, env });
    const connection = readKubeconfig(config.kubeconfig ?? paths.adminKubeconfig(instanceOf(config)));
    const namespace = encodeURIComponent(config.namespace ?? connection.namespace);
    const query = config.onNode === undefined ? '' : `?nodeName=${encodeURIComponent(config.onNode)}`;
    const archives = `/apis/windlass.dev/v1/namespaces/${namespace}/archives${query}`;
    const archive = await upload(connection, archives, await open(path), signal);
    output.print(String(archive['digest']));
    return EXIT.ok;
  },
};

/** All of a folder as a tar, or a file as it is. Throws NotFound. */
async function open(path: string): Promise<Readable> {
  try {
    const { isDirectory } = await stat(path).then((found) => ({ isDirectory: found.isDirectory() }));
    return isDirectory ? tarOf(path) : createReadStream(path, { highWaterMark: 1024 * 1024 });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new WindlassError('NotFound', `${path} does not exist`, { cause: error });
  }
}

/** What tar writes; an error in its place when tar fails, so that half of a folder is never taken for all of it. */
function tarOf(folder: string): Readable {
  const tar = spawn('tar', ['--sort=name', '-C', folder, '-cf', '-', '.'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = new PassThrough();
  let complaint = '';
  tar.stderr.setEncoding('utf8').on('data', (text: string) => (complaint = `${complaint}${text}`.slice(-2000)));
  tar.once('error', (error) => output.destroy(new WindlassError('Internal', `failed to run tar: ${messageOf(error)}`)));
  tar.once('close', (code) => {
    if (code === 0) output.end();
    else output.destroy(new WindlassError('Internal', `tar of ${folder} ended with ${code}: ${complaint.trim()}`));
  });
  tar.stdout.pipe(output, { end: false });
  output.once('close', () => tar.kill());
  return output;
}
