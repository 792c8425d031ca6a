// A repository's files at one commit (see lib/run-git.ts for what git may do).
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WindlassError } from '../../lib/errors.ts';
import type { GitAddress } from '../../lib/git-url.ts';
import { openGit, type Git } from '../../lib/run-git.ts';
import { withoutSecrets } from '../../lib/shown-url.ts';
import { bytePath } from '../../oci/layers/file-system-calls.ts';
import { createIgnoreRules } from './ignore.ts';
import { openSource } from './source-path.ts';

const COMMIT = /^([0-9a-f]{40}|[0-9a-f]{64})$/;

export interface GitOptions {
  /** Existing folder, in which one for the repository is made. */
  readonly workDir: string;
  readonly keepGitDir: boolean;
  /** Commit that has to be found. */
  readonly checksum?: string | undefined;
  readonly signal: AbortSignal;
}

export interface GitCheckout {
  /** Folder of the address within the repository. */
  readonly root: string;
  readonly commit: string;
  /** When it was committed. */
  readonly commitSeconds: number;
}

/**
 * Fetches one commit without its history and checks it out. Throws Unimplemented without a git program, Unavailable when
 * the repository cannot be fetched, Forbidden when its host may not be reached (lib/refused-addresses.ts), Invalid for a
 * ref or a folder that is not in it.
 */
export async function fetchGit(address: GitAddress, options: GitOptions): Promise<GitCheckout> {
  const folder = await mkdtemp(join(options.workDir, 'git-'));
  const git = await openGit(address, { folder, verb: 'fetch', signal: options.signal });
  const tree = join(folder, 'tree');
  await mkdir(tree, { mode: 0o755 });
  await git.run(['init', '--quiet', '--template=', tree]);
  const commit = await fetchCommit(git, tree, address);
  if (options.checksum !== undefined && (options.checksum === '' || !commit.startsWith(options.checksum))) {
    throw new WindlassError('Invalid', `${shownOf(address)} is at commit ${commit}, want ${options.checksum}`);
  }
  await git.run(['-C', tree, 'checkout', '--quiet', '--force', '--detach', commit]);
  const committed = await git.run(['-C', tree, 'show', '--no-patch', '--no-show-signature', '--format=%ct', commit]);
  if (!options.keepGitDir) await rm(join(tree, '.git'), { recursive: true, force: true });
  return { root: findFolder(tree, address), commit, commitSeconds: Number(committed.trim()) };
}

async function fetchCommit({ run, remote }: Git, tree: string, { ref = 'HEAD' }: GitAddress): Promise<string> {
  const fetch = ['-C', tree, 'fetch', '--quiet', '--no-tags', '--no-recurse-submodules', '--no-write-commit-graph'];
  const ways = [
    ['--depth=1', '--end-of-options', remote, ref],
    // Servers that only give away files know nothing of a history that is cut off.
    ['--end-of-options', remote, ref],
    // Others give away only what a branch or a tag points to: then everything has to come.
    ['--end-of-options', remote, '+refs/heads/*:refs/remotes/origin/*', '+refs/tags/*:refs/tags/*'],
  ];
  const isCommit = COMMIT.test(ref);
  for (const [index, way] of ways.entries()) {
    try {
      await run([...fetch, ...way]);
      const found = index === 2 ? ref : 'FETCH_HEAD';
      return (await run(['-C', tree, 'rev-parse', '--verify', '--end-of-options', `${found}^{commit}`])).trim();
    } catch (error) {
      const isHelpless = index === 0 ? /shallow/i.test(String(error)) || isCommit : isCommit;
      if (!isHelpless || index === ways.length - 1) throw error;
    }
  }
  throw new WindlassError('Internal', 'no way to fetch a repository is left');
}

function findFolder(tree: string, address: GitAddress): string {
  const label = `repository ${shownOf(address)}`;
  const source = { root: tree, label, isContext: true, ignore: [] };
  using found = openSource(source, createIgnoreRules([]), bytePath(address.folder).split('/'));
  if (!found?.stat.isDirectory()) {
    throw new WindlassError('Invalid', `there is no folder ${JSON.stringify(address.folder)} in ${label}`);
  }
  return [tree, ...found.parts.map((part) => Buffer.from(part, 'latin1').toString('utf8'))].join('/');
}

const shownOf = ({ remote }: GitAddress): string => withoutSecrets(remote);
