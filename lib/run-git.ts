// The git program of the machine, kept to one repository. Of git's configuration it sees a file made here alone: no hooks,
// no filters, no credential helpers, no submodules, no protocol but that of the address. Whoever writes a Dockerfile does
// not get what the machine's own user may do: ssh sees neither its keys nor its agent, and so reaches what is open to
// everybody alone. A host is looked up once, and git goes to the addresses that were looked at, whatever the name leads to
// a moment later.
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { errnoOf, WindlassError } from './errors.ts';
import { hostOf, type GitAddress } from './git-url.ts';
import { findAddresses } from './refused-addresses.ts';
import { withoutSecrets } from './shown-url.ts';

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
const MAX_COMPLAINT = 64 * 1024;
const MAX_OUTPUT = 64 * 1024;

export interface GitOptions {
  /** Existing folder for its configuration, which is its home, too. */
  readonly folder: string;
  /** For messages: `failed to <verb> <address>: ...`. */
  readonly verb: string;
  /** Most that it may print. */
  readonly maxOutputBytes?: number;
  readonly signal: AbortSignal;
  /** Gives the addresses of a host; Forbidden for those that may not be reached. */
  readonly find?: (hostname: string) => Promise<string[]>;
}

export interface Git {
  /** What the repository is to be called in arguments. */
  readonly remote: string;
  /**
   * Runs git and gives what it printed. Throws Invalid when the ref is not in the repository, Unavailable for any other
   * failure, Unimplemented without a git program. What it started has ended when `signal` has fired.
   */
  run(args: readonly string[]): Promise<string>;
}

/**
 * Looks the host up and prepares git for this address. Throws Forbidden when the host may not be reached
 * (refused-addresses.ts), Unavailable when it cannot be found.
 */
export async function openGit(address: GitAddress, options: GitOptions): Promise<Git> {
  const { folder, verb, find = findAddresses } = options;
  const addresses = address.isLocal ? [] : await findHost(address, verb, find);
  await writeFile(join(folder, 'config'), `${CONFIG}${pinHttp(address, addresses)}`, { mode: 0o600 });
  const pinned = pinGit(address, addresses);
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
    GIT_SSH_COMMAND: sshCommand(address, addresses),
    GIT_SSH_VARIANT: 'ssh',
    GIT_ALLOW_PROTOCOL: address.isLocal ? 'file' : 'http:https:ssh:git',
    GIT_OPTIONAL_LOCKS: '0',
    ...pinned.env,
  };
  const fail = (stderr: string): WindlassError =>
    gitError(address, verb, stderr.replaceAll(pinned.remote, address.remote));
  return { remote: pinned.remote, run: (args) => runGit(args, { env, fail, ...options }) };
}

async function findHost(
  { remote }: GitAddress,
  verb: string,
  find: (hostname: string) => Promise<string[]>,
): Promise<string[]> {
  const host = hostOf(remote);
  const addresses = await find(host);
  if (addresses.length > 0) return addresses;
  throw new WindlassError('Unavailable', `failed to ${verb} ${withoutSecrets(remote)}: host ${host} cannot be found`);
}

/** Configuration by which HTTP goes to the addresses that were looked at. */
function pinHttp({ remote }: GitAddress, addresses: readonly string[]): string {
  if (!/^https?:/i.test(remote)) return '';
  const { protocol, hostname, port } = new URL(remote);
  if (isIP(bare(hostname)) !== 0) return '';
  const listed = addresses.map(bracketed).join(',');
  return `[http]\n\tcurloptResolve = ${hostname}:${port || (protocol === 'https:' ? 443 : 80)}:${listed}\n`;
}

/** The same for git's own protocol: the address is dialled, and the server is told the name it was called by. */
function pinGit(
  { remote }: GitAddress,
  [first]: readonly string[],
): { readonly remote: string; readonly env: Readonly<Record<string, string>> } {
  if (!/^git:/i.test(remote) || first === undefined) return { remote, env: {} };
  const url = new URL(remote);
  if (isIP(bare(url.hostname)) !== 0) return { remote, env: {} };
  const env = { GIT_OVERRIDE_VIRTUAL_HOST: url.host };
  url.hostname = bracketed(first);
  return { remote: url.href, env };
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

interface Call extends GitOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly fail: (stderr: string) => WindlassError;
}

async function runGit(
  args: readonly string[],
  { env, folder, signal, fail, maxOutputBytes = MAX_OUTPUT }: Call,
): Promise<string> {
  signal.throwIfAborted();
  // A group of its own, so that its helpers end with it.
  const child = spawn('git', args, { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const kill = (): void => {
    if (child.pid !== undefined && child.exitCode === null) killGroup(child.pid);
  };
  signal.addEventListener('abort', kill, { once: true });
  try {
    const output: Buffer[] = [];
    let [bytes, stderr] = [0, ''];
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxOutputBytes) kill();
      else output.push(chunk);
    });
    child.stderr.on('data', (text) => (stderr = `${stderr}${String(text)}`.slice(-MAX_COMPLAINT)));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    signal.throwIfAborted();
    if (bytes > maxOutputBytes) throw fail(`the answer has more than ${maxOutputBytes} bytes`);
    if (code !== 0) throw fail(stderr);
    return Buffer.concat(output).toString();
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    const message = 'a git context needs the program git, which is not installed';
    throw new WindlassError('Unimplemented', message, { cause: error });
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // All of it has ended.
  }
}

function gitError({ remote, ref = 'HEAD' }: GitAddress, verb: string, stderr: string): WindlassError {
  const shown = withoutSecrets(remote);
  const complaint = stderr.trim().replaceAll(remote, shown);
  const isMissing = /couldn't find remote ref|not our ref/i.test(complaint);
  const what = isMissing ? `there is no ${JSON.stringify(ref)}` : complaint.slice(-2000);
  return new WindlassError(isMissing ? 'Invalid' : 'Unavailable', `failed to ${verb} ${shown}: ${what}`, {
    cause: new Error(complaint),
  });
}

const bare = (hostname: string): string => hostname.replace(/^\[|\]$/g, '');
const bracketed = (address: string): string => (isIP(address) === 6 ? `[${address}]` : address);
