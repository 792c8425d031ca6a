// A disk of its own, in a file, with project quotas.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { umount } from '../../runtime-shim/host/mount.ts';
import { enforcesProjectQuota } from '../../runtime-shim/host/project-quota.ts';

export type QuotaFs = 'ext4' | 'xfs';

/** How each is made, and the least it can be. */
const MAKE: Readonly<Record<QuotaFs, readonly string[]>> = {
  ext4: ['mkfs.ext4', '-q', '-O', 'quota,project', '-E', 'quotatype=prjquota'],
  xfs: ['mkfs.xfs', '-q'],
};
const SIZE_BYTES = 400 * 2 ** 20;

/** Mounts one on `target`; its file has no name any more. Throws where the kernel or a program lacks what it needs. */
export function mountQuotaDisk(fs: QuotaFs, target: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-quota-'));
  const image = join(folder, 'disk');
  const run = ([file, ...args]: readonly string[]): void =>
    void execFileSync(file as string, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  try {
    writeFileSync(image, '');
    truncateSync(image, SIZE_BYTES);
    run([...MAKE[fs], image]);
    run(['mount', '-t', fs, '-o', 'loop,prjquota', image, target]);
    if (!enforcesProjectQuota(target)) throw new Error(`${fs} keeps no project quotas`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Why that cannot be had on this machine; undefined = it can. */
export function whyNoQuotaDisk(fs: QuotaFs): string | undefined {
  const target = mkdtempSync(join(tmpdir(), 'windlass-quota-'));
  try {
    mountQuotaDisk(fs, target);
    return undefined;
  } catch (error) {
    const [, why = (error as Error).message] = /^mount: [^:]*: ([^,]*)/m.exec((error as Error).message) ?? [];
    return `${fs} with project quotas cannot be mounted (no CONFIG_QFMT_V2 or CONFIG_XFS_QUOTA?): ${why}`;
  } finally {
    umount(target);
    rmSync(target, { recursive: true, force: true });
  }
}
