// The commit that a git repository has now, asked without fetching anything.
import { execFile } from 'node:child_process';
import { messageOf, WindlassError } from '../../../lib/errors.ts';

const TIMEOUT_MS = 30_000;
const MAX_BYTES = 16 * 1024 * 1024;

/** `https://host/repo.git#ref:folder` in its parts; `HEAD` without a ref. Pure. */
export function parseGitContext(text: string): { readonly url: string; readonly ref: string } {
  const hash = text.indexOf('#');
  if (hash < 0) return { url: text, ref: 'HEAD' };
  const fragment = text.slice(hash + 1);
  const colon = fragment.indexOf(':');
  return { url: text.slice(0, hash), ref: (colon < 0 ? fragment : fragment.slice(0, colon)) || 'HEAD' };
}

/** The commit of `ref` in what `git ls-remote` printed: a branch before a tag, a tag by what it points to. Pure. */
export function findCommit(listing: string, ref: string): string | undefined {
  const commits = new Map(
    listing.split('\n').flatMap((line): [string, string][] => {
      const [commit = '', name = ''] = line.split('\t');
      return name === '' ? [] : [[name, commit]];
    }),
  );
  const names = [ref, `refs/heads/${ref}`, `refs/tags/${ref}^{}`, `refs/tags/${ref}`];
  for (const name of names) {
    const commit = commits.get(name);
    if (commit !== undefined) return commit;
  }
  return undefined;
}

/** Asks the repository. Throws NotFound for a ref that it has not, Unavailable when it does not answer. */
export async function readGitHead(context: string, signal: AbortSignal): Promise<string> {
  const { url, ref } = parseGitContext(context);
  // A commit is what it is.
  if (/^[0-9a-f]{40}$/.test(ref)) return ref;
  const listing = await lsRemote(url, ref, signal);
  const commit = findCommit(listing, ref);
  if (commit === undefined)
    throw new WindlassError('NotFound', `${withoutLogin(url)} has no branch or tag ${JSON.stringify(ref)}`);
  return commit;
}

/** What a message may say of the URL: conditions, Events and logs are read by others than its author. */
const withoutLogin = (url: string): string => url.replace(/^([a-z]+:\/\/)[^/]*@/, '$1');

function lsRemote(url: string, ref: string, signal: AbortSignal): Promise<string> {
  const env = {
    PATH: process.env['PATH'] ?? '',
    // Nobody is there to be asked, and no configuration of this machine is the user's.
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/false',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ALLOW_PROTOCOL: 'https:http:ssh:git:file',
    // As the builder: neither the keys nor the agent of the machine's own user.
    GIT_SSH_COMMAND:
      'ssh -F none -oBatchMode=yes -oIdentityFile=none -oIdentityAgent=none -oPubkeyAuthentication=no -oUserKnownHostsFile=none',
  };
  const options = { env, signal, timeout: TIMEOUT_MS, maxBuffer: MAX_BYTES, encoding: 'utf8' } as const;
  return new Promise((resolve, reject) => {
    execFile('git', ['ls-remote', '--quiet', '--', url, ref, `${ref}^{}`], options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      if (signal.aborted) return reject(signal.reason as Error);
      // Without its cause, which has the whole command line.
      const why = (stderr.trim().split('\n').at(-1) || messageOf(error)).replaceAll(url, withoutLogin(url));
      reject(new WindlassError('Unavailable', `failed to ask ${withoutLogin(url)}: ${why}`));
    });
  });
}
