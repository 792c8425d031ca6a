// The commit that a git repository has now, asked without fetching anything. The question goes where the builder's fetch may
// go, and by the same git (lib/run-git.ts).
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WindlassError } from '../../../lib/errors.ts';
import { parseGitUrl, type GitAddress } from '../../../lib/git-url.ts';
import { openGit } from '../../../lib/run-git.ts';
import { withoutSecrets } from '../../../lib/shown-url.ts';

const TIMEOUT_MS = 30_000;
const MAX_BYTES = 16 * 1024 * 1024;

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

/**
 * Asks the repository of a git context. Throws NotFound for a ref that it has not, Invalid for an address that is none,
 * Forbidden for one that may not be reached (lib/refused-addresses.ts), Unavailable when it does not answer.
 */
export async function readGitHead(context: string, signal: AbortSignal): Promise<string> {
  const address = parseGitUrl(context, { allowsLocal: true });
  const { remote, ref = 'HEAD' } = address;
  // A commit is what it is.
  if (/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(ref)) return ref;
  const commit = findCommit(await lsRemote(address, ref, signal), ref);
  if (commit !== undefined) return commit;
  throw new WindlassError('NotFound', `${withoutSecrets(remote)} has no branch or tag ${JSON.stringify(ref)}`);
}

async function lsRemote(address: GitAddress, ref: string, signal: AbortSignal): Promise<string> {
  const late = AbortSignal.timeout(TIMEOUT_MS);
  const folder = await mkdtemp(join(tmpdir(), 'windlass-git-head-'));
  try {
    const options = { verb: 'ask', folder, signal: AbortSignal.any([signal, late]), maxOutputBytes: MAX_BYTES };
    const git = await openGit(address, options);
    return await git.run(['ls-remote', '--quiet', '--', git.remote, ref, `${ref}^{}`]);
  } catch (error) {
    if (signal.aborted || !late.aborted) throw error;
    const message = `failed to ask ${withoutSecrets(address.remote)}: no answer within ${TIMEOUT_MS / 1000} s`;
    throw new WindlassError('Unavailable', message, { cause: error });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
