// runc up to 1.1.12 can lose a race with the Go runtime that its own init runs on: that raises the soft limit of open
// files to the hard one when it starts, be it before runc has set the limits of an exec or after (opencontainers/runc issue
// 4195). Where both are the same there is nothing to raise.
import type { OciRlimit } from './oci-spec.ts';
import type { OciRuntime } from './runtime.ts';

/** The limits of an exec by a runtime of this kind: what was asked for, or with runc the soft limit of files as the hard one. */
export function execLimits(kind: OciRuntime['kind'], rlimits: readonly OciRlimit[]): OciRlimit[] {
  return rlimits.map((limit) =>
    kind === 'runc' && limit.type === 'RLIMIT_NOFILE' ? { ...limit, hard: limit.soft } : limit,
  );
}
