// Sysctls of a sandbox: only those that belong to a namespace of its own.
import { WindlassError } from '../../lib/errors.ts';

const IPC_NAMES = new Set(['kernel.msgmax', 'kernel.msgmnb', 'kernel.msgmni', 'kernel.sem', 'kernel.shmall']);
const IPC_MORE = new Set(['kernel.shmmax', 'kernel.shmmni', 'kernel.shm_rmid_forced']);

/**
 * Checks and normalises (`a/b` -> `a.b`). Forbidden when the key belongs to the host or to a namespace shared with it;
 * Invalid for a value that could be read as more than one setting.
 */
export function planSysctls(
  sysctls: Readonly<Record<string, string>>,
  own: { readonly net: boolean; readonly ipc: boolean },
): Record<string, string> {
  const planned: Record<string, string> = {};
  for (const [rawKey, value] of Object.entries(sysctls)) {
    const key = rawKey.replaceAll('/', '.');
    if (!/^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_:-]+)+$/.test(key)) {
      throw new WindlassError('Invalid', `invalid sysctl name ${JSON.stringify(rawKey)}`);
    }
    // One word, or numbers after it: no separators, assignments or line breaks a parser could split at.
    if (!/^[\w.:-]+([ \t]-?\d+)*$/.test(value)) {
      throw new WindlassError('Invalid', `invalid value ${JSON.stringify(value)} of sysctl ${key}`);
    }
    const isIpc = IPC_NAMES.has(key) || IPC_MORE.has(key) || key.startsWith('fs.mqueue.');
    const isNet = key.startsWith('net.');
    if (!isIpc && !isNet) throw new WindlassError('Forbidden', `sysctl ${key} belongs to the host, not to a namespace`);
    if ((isIpc && !own.ipc) || (isNet && !own.net)) {
      throw new WindlassError(
        'Forbidden',
        `sysctl ${key} is not allowed: the sandbox shares the host's ${isIpc ? 'ipc' : 'network'} namespace`,
      );
    }
    planned[key] = value;
  }
  return planned;
}
