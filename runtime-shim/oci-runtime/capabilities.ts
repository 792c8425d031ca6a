// Capabilities of a container: the default set, what was added and dropped, never more than the daemon itself holds.
import { readFileSync } from 'node:fs';
import { WindlassError } from '../../lib/errors.ts';

/** Names by number (capabilities(7)). */
const NAMES = [
  ['CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP'],
  ['LINUX_IMMUTABLE', 'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_ADMIN', 'NET_RAW', 'IPC_LOCK', 'IPC_OWNER'],
  ['SYS_MODULE', 'SYS_RAWIO', 'SYS_CHROOT', 'SYS_PTRACE', 'SYS_PACCT', 'SYS_ADMIN', 'SYS_BOOT', 'SYS_NICE'],
  ['SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'MKNOD', 'LEASE', 'AUDIT_WRITE', 'AUDIT_CONTROL', 'SETFCAP'],
  ['MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG', 'WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ', 'PERFMON', 'BPF'],
  ['CHECKPOINT_RESTORE'],
].flat();

/** What Docker gives a container. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
];

/** The bounding set in the text of a /proc/PID/status file: what this process can pass on. */
export function parseBoundingSet(status: string): ReadonlySet<string> {
  const hex = /^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
  const bits = BigInt(`0x${hex}`);
  return new Set(NAMES.flatMap((name, index) => (bits & (1n << BigInt(index)) ? [`CAP_${name}`] : [])));
}

/** Capabilities of this process. */
export const ownCapabilities = (): ReadonlySet<string> => parseBoundingSet(readFileSync('/proc/self/status', 'utf8'));

export interface CapabilityRequest {
  readonly privileged: boolean;
  readonly add: readonly string[];
  readonly drop: readonly string[];
}

/**
 * The set of a container, sorted, and the ones that were asked for but that the daemon lacks. `ALL` may be added or
 * dropped; a single name wins over ALL of the other list. Invalid for an unknown name.
 */
export function planCapabilities(
  request: CapabilityRequest,
  own: ReadonlySet<string>,
): { granted: string[]; missing: string[] } {
  const add = request.add.map(normalise);
  const drop = request.drop.map(normalise);
  const all = NAMES.map((name) => `CAP_${name}`);
  if (request.privileged) return { granted: all.filter((name) => own.has(name)), missing: [] };
  let wanted = new Set(DEFAULT_CAPABILITIES);
  if (add.includes('ALL')) wanted = new Set(all);
  if (drop.includes('ALL')) wanted = new Set();
  for (const name of add) if (name !== 'ALL') wanted.add(name);
  for (const name of drop) wanted.delete(name);
  const granted = [...wanted].filter((name) => own.has(name)).toSorted();
  // ALL means "whatever there is": only a name asked for singly is worth a warning.
  return { granted, missing: add.filter((name) => name !== 'ALL' && wanted.has(name) && !own.has(name)) };
}

function normalise(name: string): string {
  const upper = name.toUpperCase();
  if (upper === 'ALL') return upper;
  const bare = upper.startsWith('CAP_') ? upper.slice(4) : upper;
  if (!NAMES.includes(bare)) throw new WindlassError('Invalid', `unknown capability ${JSON.stringify(name)}`);
  return `CAP_${bare}`;
}
