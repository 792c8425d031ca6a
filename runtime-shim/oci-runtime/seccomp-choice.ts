// Which system call filter a container gets, from CRI's three ways to say it.
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { LinuxContainerSecurityContext } from '../../cri/messages.ts';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { defaultSeccompProfile, type SeccompProfile } from './seccomp-profile.ts';

const MAX_PROFILE_BYTES = 1024 * 1024;

/**
 * The filter of a container that is not privileged; undefined = none. As CRI has it, a security context without a
 * profile means unconfined; without a security context at all, the default applies.
 */
export function planSeccomp(
  security: LinuxContainerSecurityContext | undefined,
  capabilities: readonly string[],
): SeccompProfile | undefined {
  if (!security) return defaultSeccompProfile(capabilities);
  const { profileType, localhostRef } = security.seccomp ?? parseOldPath(security.seccompProfilePath);
  if (profileType === 'Unconfined') return undefined;
  return profileType === 'RuntimeDefault' ? defaultSeccompProfile(capabilities) : readProfile(localhostRef);
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

/** A profile of the node's, in the OCI runtime specification's form. */
function readProfile(file: string): SeccompProfile {
  if (!file.startsWith('/') || file.includes('\0')) {
    throw new WindlassError('Invalid', `seccomp profile ${JSON.stringify(file)} is not an absolute path`);
  }
  const text = readRegularFile(file);
  let profile: unknown;
  try {
    profile = JSON.parse(text);
  } catch (error) {
    throw new WindlassError('Invalid', `seccomp profile ${file} is not valid JSON`, { cause: error });
  }
  if (profile !== null && typeof profile === 'object' && 'defaultAction' in profile) return profile as SeccompProfile;
  throw new WindlassError('Invalid', `seccomp profile ${file} has no defaultAction`);
}

function readRegularFile(file: string): string {
  let fd: number;
  try {
    // A pipe must not hold up the daemon.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
    throw new WindlassError('NotFound', `seccomp profile ${file} does not exist`, { cause: error });
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size > MAX_PROFILE_BYTES) {
      throw new WindlassError('Invalid', `seccomp profile ${file} is not a file of at most ${MAX_PROFILE_BYTES} bytes`);
    }
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}
