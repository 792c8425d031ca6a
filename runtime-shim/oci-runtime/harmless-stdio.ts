// crun gives its own stdin, stdout and stderr to the user that a container's process runs as, and /dev/null of the host is
// no exception: it would belong to a container's root from then on. So crun gets a pipe that is at its end instead of a
// /dev/null to read from; whoever reads it sees the same.
import { closeSync } from 'node:fs';
import { createPipe } from '../host/pipe.ts';

/** The reading end of a pipe that has ended; the caller closes it. */
export function openEndedPipe(): number {
  const { readFd, writeFd } = createPipe();
  closeSync(writeFd);
  return readFd;
}

/**
 * What to execute instead of a program that conmon starts with /dev/null as its stdin; for a container with a terminal
 * as its stdout, too. For an empty here-document a shell makes a pipe.
 */
export function withoutNull(
  path: string,
  args: readonly string[],
  options: { readonly terminal: boolean },
): { path: string; args: string[] } {
  const script = `exec "$@" ${options.terminal ? '>&2 ' : ''}<<end\nend\n`;
  return { path: '/bin/sh', args: ['-c', script, 'sh', path, ...args] };
}
