// A repository's files at one commit, by the git program of the machine. Of git's configuration it sees a file made here
// alone: no hooks, no filters, no credential helpers, no submodules, no protocol but that of the address. Whoever writes a
// Dockerfile does not get what the machine's own user may do: ssh sees neither its keys nor its agent, and so reaches what
// is open to everybody alone.
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { WindlassError } from '../../lib/errors.ts';
import { bytePath } from '../../oci/layers/file-system-calls.ts';
import { findProgram } from '../../runtime-shim/oci-runtime/runtime.ts';
import { withoutSecrets } from './fetch-url.ts';
import { hostOf, type GitAddress } from './git-url.ts';
import { createIgnoreRules } from './ignore.ts';
import { findAddresses } from './refused-addresses.ts';
import { openSource } from './source-path.ts';

const CONFIG = `[safe]
	directory = *
[core]
	hooksPath = /dev/null
	fsmonitor = false
	autocrlf = false
	symlinks = true
	attributesFile = /dev/null
[submodule]
	recurse = false
[http]
	followRedirects = false
[credential]
	helper =
[advice]
	detachedHead = false
[init]
	defaultBranch = main
`;
const COMMIT = /^([0-9a-f]{40}|[0-9a-f]{64})$/;
const MAX_OUTPUT = 64 * 1024;

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
 * the repository cannot be fetched, Forbidden when its host may not be reached (refused-addresses.ts), Invalid for a ref or a folder that is not in it.
 */
export async function fetchGit(address: GitAddress, options: GitOptions): Promise<GitCheckout> {
  const git = findProgram('git');
  if (git === undefined) {
    throw new WindlassError('Unimplemented', 'a git context needs the program git, which is not installed');
  }
  const addresses = address.isLocal ? [] : await findHost(address);
  const folder = await mkdtemp(join(options.workDir, 'git-'));
  const tree = join(folder, 'tree');
  const run = createRunner({ git, folder, address, ssh: sshCommand(address, addresses) }, options.signal);
  await mkdir(tree, { mode: 0o755 });
  await writeFile(join(folder, 'config'), `${CONFIG}${pinHttp(address, addresses)}`, { mode: 0o600 });
  await run(['init', '--quiet', '--template=', tree]);
  const commit = await fetchCommit(run, tree, address);
  if (options.checksum !== undefined && (options.checksum === '' || !commit.startsWith(options.checksum))) {
    throw new WindlassError('Invalid', `${shownOf(address)} is at commit ${commit}, want ${options.checksum}`);
  }
  await run(['-C', tree, 'checkout', '--quiet', '--force', '--detach', commit]);
  const committed = await run(['-C', tree, 'show', '--no-patch', '--no-show-signature', '--format=%ct', commit]);
  if (!options.keepGitDir) await rm(join(tree, '.git'), { recursive: true, force: true });
  return { root: findFolder(tree, address), commit, commitSeconds: Number(committed.trim()) };
}

async function findHost(address: GitAddress): Promise<string[]> {
  const host = hostOf(address.remote);
  const addresses = await findAddresses(host);
  if (addresses.length > 0) return addresses;
  throw new WindlassError('Unavailable', `failed to fetch ${shownOf(address)}: host ${host} cannot be found`);
}

/** Makes git go to the addresses that were looked at, whatever the name leads to when it asks. (git:// has no such way.) */
function pinHttp({ remote }: GitAddress, addresses: readonly string[]): string {
  if (!/^https?:/i.test(remote)) return '';
  const { protocol, hostname, port } = new URL(remote);
  if (isIP(hostname.replace(/^\[|\]$/g, '')) !== 0) return '';
  const listed = addresses.map((one) => (isIP(one) === 6 ? `[${one}]` : one)).join(',');
  return `[http]\n\tcurloptResolve = ${hostname}:${port || (protocol === 'https:' ? 443 : 80)}:${listed}\n`;
}

/** The same for ssh, without the machine's configuration, keys and agent. Hosts are known from /etc/ssh/ssh_known_hosts. */
function sshCommand({ remote, isLocal }: GitAddress, [first]: readonly string[]): string {
  const options = [
    ...['BatchMode=yes', 'IdentityFile=none', 'IdentityAgent=none', 'IdentitiesOnly=yes', 'PubkeyAuthentication=no'],
    ...['UserKnownHostsFile=none', 'UpdateHostKeys=no'],
    ...(isLocal || first === undefined ? [] : [`HostName=${first}`, `HostKeyAlias=${hostOf(remote)}`]),
  ];
  return ['ssh', '-F', 'none', ...options.map((option) => `-o '${option}'`)].join(' ');
}

type Run = (args: readonly string[]) => Promise<string>;

async function fetchCommit(run: Run, tree: string, { remote, ref = 'HEAD' }: GitAddress): Promise<string> {
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

interface RunnerParts {
  readonly git: string;
  readonly folder: string;
  readonly address: GitAddress;
  /** Command of a shell. */
  readonly ssh: string;
}

function createRunner({ git, folder, address, ssh }: RunnerParts, signal: AbortSignal): Run {
  const env = {
    PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
    LC_ALL: 'C',
    HOME: folder,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: join(folder, 'config'),
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/false',
    SSH_ASKPASS: '/bin/false',
    GIT_SSH_COMMAND: ssh,
    GIT_SSH_VARIANT: 'ssh',
    GIT_ALLOW_PROTOCOL: address.isLocal ? 'file' : 'http:https:ssh:git',
    GIT_OPTIONAL_LOCKS: '0',
  };
  return async (args) => {
    signal.throwIfAborted();
    // A group of its own, so that its helpers end with it.
    const child = spawn(git, args, { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const kill = (): void => {
      if (child.pid !== undefined && child.exitCode === null) killGroup(child.pid);
    };
    signal.addEventListener('abort', kill, { once: true });
    try {
      let [stdout, stderr] = ['', ''];
      child.stdout.on('data', (text) => (stdout = `${stdout}${String(text)}`.slice(0, MAX_OUTPUT)));
      child.stderr.on('data', (text) => (stderr = `${stderr}${String(text)}`.slice(-MAX_OUTPUT)));
      const code = await new Promise<number | null>((resolve, reject) => {
        child.once('error', reject);
        child.once('close', resolve);
      });
      signal.throwIfAborted();
      if (code !== 0) throw gitError(address, stderr);
      return stdout;
    } finally {
      signal.removeEventListener('abort', kill);
    }
  };
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // All of it has ended.
  }
}

function gitError(address: GitAddress, stderr: string): WindlassError {
  const complaint = stderr.trim().replaceAll(address.remote, withoutSecrets(address.remote));
  const isMissing = /couldn't find remote ref|not our ref/i.test(complaint);
  const what = isMissing ? `there is no ${JSON.stringify(address.ref ?? 'HEAD')}` : complaint.slice(-2000);
  return new WindlassError(isMissing ? 'Invalid' : 'Unavailable', `failed to fetch ${shownOf(address)}: ${what}`, {
    cause: new Error(complaint),
  });
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
