// Traffic counters of the links in a network namespace.
import { errnoOf } from '../../lib/errors.ts';
import { readKernelText } from '../../lib/kernel-file.ts';
import { withNetns } from '../host/namespaces.ts';

export interface LinkCounters {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

/** Counters of every link but loopback in the namespace pinned at `netnsPath`; none when that is gone. */
export function readLinkCounters(netnsPath: string): LinkCounters[] {
  try {
    return parseNetDev(withNetns(netnsPath, () => readKernelText('/proc/thread-self/net/dev')));
  } catch (error) {
    // EINVAL: the pin is an empty file, its namespace was let go.
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EINVAL') return [];
    throw error;
  }
}

/** Parses /proc/PID/net/dev (proc(5)); loopback is left out. */
export function parseNetDev(text: string): LinkCounters[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*([^:\s]+):\s*(.*)$/.exec(line);
    const name = match?.[1];
    if (name === undefined || name === 'lo') return [];
    const counts = (match?.[2] ?? '').split(/\s+/).map(Number);
    const [rxBytes = 0, rxPackets = 0, rxErrors = 0, rxDropped = 0] = counts;
    const [txBytes = 0, txPackets = 0, txErrors = 0, txDropped = 0] = counts.slice(8);
    return [{ name, rxBytes, rxPackets, rxErrors, rxDropped, txBytes, txPackets, txErrors, txDropped }];
  });
}
