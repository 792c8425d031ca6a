import { fileURLToPath } from 'node:url';
import { WindlassError } from '../../lib/errors.ts';
import type { Command } from '../command.ts';

const program = fileURLToPath(new URL('../../registry/main.ts', import.meta.url));

export const registryCommand: Command = {
  name: 'registry',
  summary: 'Run a registry for images alone, without the rest of windlass',
  usage: 'windlass registry [flags]',
  flags: [
    { flag: '--root DIR', text: 'folder of its repositories (default /var/lib/windlass/registry)' },
    { flag: '--listen HOST:PORT', text: 'address (default 127.0.0.1:5050); others than loopback need TLS and users' },
    { flag: '--tls-cert FILE, --tls-key FILE', text: 'certificate and key, PEM' },
    { flag: '--client-ca FILE', text: 'authority of client certificates that say who is calling' },
    { flag: '--access open|cluster', text: 'everybody on this machine (default), or whom the API server lets' },
    { flag: '--kubeconfig FILE', text: 'the API server to ask, with --access cluster' },
    { flag: '--anonymous-pull', text: 'everybody may pull, with --access cluster' },
    { flag: '--quota SIZE, --repository-quota SIZE', text: 'most bytes in all, and of one repository (default: any)' },
    { flag: '--upstream HOST', text: 'be the cache of another registry, e.g. docker.io, and take no pushes' },
    { flag: '--upstream-credentials FILE', text: 'user:password for it' },
    { flag: '--upstream-tag-seconds N', text: 'how long a tag is believed before it is asked for again (default 60)' },
    { flag: '--registries-config FILE', text: 'mirrors of the upstream' },
    { flag: '--gc-grace-seconds N', text: 'how long what nothing leads to stays (default 24 h)' },
    { flag: '--gc-interval-seconds N', text: 'how often that is looked for (default 1 h)' },
    { flag: '--delete-untagged', text: 'manifests without a tag go, too' },
    { flag: '--no-delete', text: 'refuse every DELETE' },
    { flag: '--allow-sparse', text: 'take manifests whose config or layers have not been pushed' },
    { flag: '--max-uploads N', text: 'uploads that may be open at once (default 1000)' },
    { flag: '--upload-idle-seconds N', text: 'when an upload that nobody goes on with is forgotten (default 24 h)' },
    { flag: '--metrics-listen HOST:PORT', text: 'address of its metrics (default: any free port)' },
    { flag: '--log-level LEVEL', text: 'trace, debug, info (default), warn or error' },
  ],
  examples: [
    'windlass registry',
    'windlass registry --root /srv/registry --listen 127.0.0.1:5000',
    'windlass registry --upstream docker.io --quota 50Gi',
  ],
  run({ argv }) {
    // This process becomes it: what stops the one stops the other.
    process.execve?.(process.execPath, [process.execPath, program, ...argv], process.env);
    throw new WindlassError('Unimplemented', 'this Node cannot replace its process: use the one of the project');
  },
};
