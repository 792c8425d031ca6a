// What must hold before `up` starts anything, each failure with what to do about it.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { WindlassError } from '../lib/errors.ts';
import { formatHostPort, parseHostPort } from '../lib/host-port.ts';
import { NO_REGISTRY } from './options.ts';
import { isFree, isOwnAddress } from './ports.ts';

/** Path of a program on PATH (system folders included, which a plain user's PATH may lack); undefined when absent. */
export function findProgram(name: string, path: string | undefined): string | undefined {
  for (const folder of [...(path ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/bin', '/usr/local/bin']) {
    if (folder === '') continue;
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      // Not in this folder: the next one is tried.
    }
  }
  return undefined;
}

/** Programs that a node runs. */
export const NODE_PROGRAMS: readonly string[] = ['runc', 'conmon', 'nft', 'ip'];

/** Programs that `up` runs: name -> Debian package. */
export const REQUIRED_PROGRAMS: Readonly<Record<string, string>> = {
  etcd: 'etcd-server',
  runc: 'runc',
  conmon: 'conmon',
  nft: 'nftables',
  ip: 'iproute2',
};

/** Throws Forbidden when this process is not root. */
export function requireRoot(command: string, uid: number | undefined = process.getuid?.()): void {
  if (uid === 0) return;
  throw new WindlassError(
    'Forbidden',
    `windlass ${command} must run as root: it works on namespaces, mounts and network links; run it with sudo`,
  );
}

/** What a command needs of the machine. */
export interface Preconditions {
  readonly command: string;
  /** `host:port` of the API server; undefined where none is to run. */
  readonly listen?: string;
  /** `host:port` of the registry, or `none`. */
  readonly registryListen?: string;
  readonly programs: readonly string[];
}

/** Throws when this process is not root, a program is missing, or an address is taken. */
export async function checkPreconditions(
  { command, listen, registryListen = NO_REGISTRY, programs }: Preconditions,
  path: string | undefined,
): Promise<void> {
  requireRoot(command);
  const missing = programs.filter((program) => findProgram(program, path) === undefined);
  if (missing.length > 0) {
    const packages = missing.map((program) => REQUIRED_PROGRAMS[program]).join(' ');
    throw new WindlassError(
      'NotFound',
      `missing programs: ${missing.join(', ')}; install them with: npm run setup (on Debian: apt-get install ${packages})`,
    );
  }
  if (listen !== undefined) await checkAddress('--listen', listen);
  if (registryListen !== NO_REGISTRY) await checkAddress('--registry-listen', registryListen, ', or none');
}

async function checkAddress(flag: string, listen: string, alternative = ''): Promise<void> {
  const address = parseHostPort(listen);
  if (!(await isOwnAddress(address.host))) {
    throw new WindlassError('BadRequest', `invalid ${flag}: ${address.host} is not an address of this machine`);
  }
  if (!(await isFree(address.port, address.host))) {
    throw new WindlassError(
      'Conflict',
      `${formatHostPort(address)} is already in use; stop its holder or choose another address with ${flag}${alternative}`,
    );
  }
}
