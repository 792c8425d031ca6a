// Which system call filter a container gets, from CRI's three ways to say it.
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { LinuxContainerSecurityContext } from '../../cri/messages.ts';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { defaultSeccompProfile, type SeccompProfile } from './seccomp-profile.ts';

const MAX_PROFILE_BYTES = 1024 * 1024;
/** A node sees a handful: by capabilities, and the files of its owner. */
const MAX_KNOWN = 64;

/** Profiles that are made or read once, for as long as a file is the same; whoever gets one does not change it. */
export interface SeccompProfiles {
  forCapabilities(capabilities: readonly string[]): SeccompProfile;
  /** That of the node's file, in the OCI runtime specification's form. Invalid or NotFound, naming the file. */
  inFile(file: string): SeccompProfile;
}

export function createSeccompProfiles(): SeccompProfiles {
  const defaults = new Map<string, SeccompProfile>();
  const files = new Map<string, { readonly version: string; readonly profile: SeccompProfile }>();
  return {
    forCapabilities(capabilities) {
      const key = capabilities.join(' ');
      const profile = defaults.get(key) ?? defaultSeccompProfile(capabilities);
      if (defaults.size < MAX_KNOWN) defaults.set(key, profile);
      return profile;
    },
    inFile(file) {
      if (!file.startsWith('/') || file.includes('\0')) {
        throw new WindlassError('Invalid', `seccomp profile ${JSON.stringify(file)} is not an absolute path`);
      }
      return withRegularFile(file, (fd, version) => {
        const known = files.get(file);
        if (known?.version === version) return known.profile;
        const profile = parseProfile(file, readFileSync(fd, 'utf8'));
        if (known || files.size < MAX_KNOWN) files.set(file, { version, profile });
        return profile;
      });
    },
  };
}

/**
 * The filter of a container that is not privileged; undefined = none. As CRI has it, a security context without a
 * profile means unconfined; without a security context at all, the default applies.
 */
export function planSeccomp(
  security: LinuxContainerSecurityContext | undefined,
  capabilities: readonly string[],
  profiles: SeccompProfiles = createSeccompProfiles(),
): SeccompProfile | undefined {
  if (!security) return profiles.forCapabilities(capabilities);
  const { profileType, localhostRef } = security.seccomp ?? parseOldPath(security.seccompProfilePath);
  if (profileType === 'Unconfined') return undefined;
  return profileType === 'RuntimeDefault' ? profiles.forCapabilities(capabilities) : profiles.inFile(localhostRef);
}

type Profile = NonNullable<LinuxContainerSecurityContext['seccomp']>;

/** The deprecated field: `runtime/default`, `unconfined`, `localhost/<absolute path>`. */
function parseOldPath(text: string): Profile {
  if (text === '' || text === 'unconfined') return { profileType: 'Unconfined', localhostRef: '' };
  if (text === 'runtime/default' || text === 'docker/default')
    return { profileType: 'RuntimeDefault', localhostRef: '' };
  const [, path] = /^localhost\/(\/.*)$/.exec(text) ?? [];
  if (path !== undefined) return { profileType: 'Localhost', localhostRef: path };
  throw new WindlassError('Invalid', `seccomp_profile_path: unknown profile ${JSON.stringify(text)}`);
}

function parseProfile(file: string, text: string): SeccompProfile {
  let profile: unknown;
  try {
    profile = JSON.parse(text);
  } catch (error) {
    throw new WindlassError('Invalid', `seccomp profile ${file} is not valid JSON`, { cause: error });
  }
  if (profile !== null && typeof profile === 'object' && 'defaultAction' in profile) return profile as SeccompProfile;
  throw new WindlassError('Invalid', `seccomp profile ${file} has no defaultAction`);
}

/** Calls `use` with the open file and what changes whenever the file does. */
function withRegularFile<T>(file: string, use: (fd: number, version: string) => T): T {
  let fd: number;
  try {
    // A pipe must not hold up the daemon.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
    throw new WindlassError('NotFound', `seccomp profile ${file} does not exist`, { cause: error });
  }
  try {
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isFile() || stat.size > MAX_PROFILE_BYTES) {
      throw new WindlassError('Invalid', `seccomp profile ${file} is not a file of at most ${MAX_PROFILE_BYTES} bytes`);
    }
    return use(fd, [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(' '));
  } finally {
    closeSync(fd);
  }
}
