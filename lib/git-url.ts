// Addresses of git repositories: `<url>#<ref>:<folder>`. What git could take for an option, a command or a path elsewhere is
// refused here, before git sees it.
import { isAbsolute, posix } from 'node:path';
import { WindlassError } from './errors.ts';
import { checkHost, namesThisMachine } from './refused-addresses.ts';
import { withoutSecrets } from './shown-url.ts';

export interface GitAddress {
  readonly remote: string;
  readonly isLocal: boolean;
  /** Branch, tag, full name of a ref or a whole commit id; undefined = HEAD. */
  readonly ref: string | undefined;
  /** Below the repository's root, '' = the root. */
  readonly folder: string;
}

const SCP = /^([a-z0-9_][\w.-]*)@([a-z0-9][a-z0-9.-]*):(?!\/\/)([^-\s][^\s]*)$/i;
const SCHEMES: readonly string[] = ['http:', 'https:', 'ssh:', 'git:'];

/** Whether a source of an ADD is a repository: as with BuildKit, an HTTP URL only when its path ends in `.git`. */
export function isGitUrl(source: string): boolean {
  const [address = ''] = source.split('#');
  if (/^https?:\/\//i.test(address)) return /^[^?]*\.git$/i.test(address);
  return /^(git|ssh):\/\//i.test(address) || SCP.test(address);
}

/** Parses an address; Invalid says what is wrong with it, Forbidden that it may not be reached. */
export function parseGitUrl(text: string, options: { readonly allowsLocal: boolean }): GitAddress {
  const shown = JSON.stringify(withoutSecrets(text));
  const invalid = (problem: string): WindlassError => new WindlassError('Invalid', `git address ${shown}: ${problem}`);
  // Control characters would be seen as something else by whoever reads the address next.
  if (/[\0-\x20\x7f]/.test(text)) throw invalid('it holds a space or a control character');
  const hash = text.indexOf('#');
  const remote = hash === -1 ? text : text.slice(0, hash);
  const fragment = hash === -1 ? '' : text.slice(hash + 1);
  const colon = fragment.indexOf(':');
  const ref = colon === -1 ? fragment : fragment.slice(0, colon);
  const folder = colon === -1 ? '' : fragment.slice(colon + 1);
  if (ref !== '') checkRef(ref, invalid);
  return {
    remote,
    isLocal: checkRemote(remote, options.allowsLocal, invalid),
    ref: ref || undefined,
    folder: checkFolder(folder, invalid),
  };
}

/** The host of a remote that is not on this machine. */
export function hostOf(remote: string): string {
  return SCP.exec(remote)?.[2] ?? new URL(remote).hostname;
}

type Invalid = (problem: string) => WindlassError;

/** True for a repository on this machine. */
function checkRemote(remote: string, allowsLocal: boolean, invalid: Invalid): boolean {
  if (SCP.test(remote)) {
    const host = SCP.exec(remote)?.[2] ?? '';
    checkHost(host, namesThisMachine(host));
    return false;
  }
  const isPath = isAbsolute(remote) || remote.startsWith('file:///');
  if (isPath) {
    if (!allowsLocal) throw invalid('a repository of the building machine cannot be a source');
    return true;
  }
  if (!URL.canParse(remote) || remote.startsWith('-')) throw invalid('want a URL, user@host:path or an absolute path');
  const url = new URL(remote);
  if (!SCHEMES.includes(url.protocol)) throw invalid(`want http, https, ssh or git, not ${url.protocol.slice(0, -1)}`);
  if (url.hostname === '' || url.hostname.startsWith('-') || url.username.startsWith('-'))
    throw invalid('it has no host');
  // In ssh and git URLs nearly everything would pass for a host, and be read by a shell.
  if (!/^[a-z0-9[][\w.:-]*\]?$/i.test(url.hostname)) throw invalid('its host is no name and no address');
  if (url.pathname === '' || url.pathname === '/' || url.pathname.startsWith('/-')) throw invalid('it has no path');
  if (url.search !== '') throw invalid('a query is not supported: #ref:folder picks a ref and a folder');
  checkHost(url.hostname, namesThisMachine(url.hostname));
  return false;
}

/** git-check-ref-format(1), and nothing that looks like an option. */
function checkRef(ref: string, invalid: Invalid): void {
  const isBad = /^[-/.@]|[~^:?*[\]\\]|\.\.|\/\/|@\{|[/.]$|\.lock(\/|$)|\/\./.test(ref) || ref.length > 250;
  if (isBad) throw invalid(`${JSON.stringify(ref)} is no name of a branch, tag or commit`);
}

function checkFolder(folder: string, invalid: Invalid): string {
  const parts = folder.split('/');
  if (parts.includes('..') || parts.includes('.git') || folder.includes('\\')) {
    throw invalid(`the folder ${JSON.stringify(folder)} leads out of the repository`);
  }
  return posix.normalize(`/${folder}`).replace(/^\/|\/$/g, '');
}
