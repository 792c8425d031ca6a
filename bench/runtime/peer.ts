// What a container runtime has to do in the benchmark, and what all of them are given: one image, one seccomp filter.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { umountTree } from '../../runtime-shim/host/mount.ts';
import { busyboxFiles, makeTar } from '../../test/support/images.ts';
import { defaultSeccompProfile } from '../../runtime-shim/oci-runtime/seccomp-profile.ts';

export interface Peer {
  readonly name: string;
  /** Starts one container that sleeps; resolves when its program runs. */
  start(name: string): Promise<void>;
  /** Stops and removes one container. */
  remove(name: string): Promise<void>;
  /** Runs `true` in a running container to its end; absent where that is not measured. */
  execTrue?(name: string): Promise<void>;
  /** Lets work that goes on in the background (a pool being filled) come to its end. */
  settle?(): Promise<void>;
  /** Stops what was started for it and removes everything. */
  close(): Promise<void>;
}

/** Why a peer is left out of a run. */
export class PeerMissing extends Error {
  override readonly name = 'PeerMissing';
}

export const SLEEP = ['/bin/sleep', '1000000'];
/** Capabilities of a container by default, Docker's: the filter depends on them. */
export const CAPABILITIES = [
  ...['CHOWN', 'DAC_OVERRIDE', 'FSETID', 'FOWNER', 'MKNOD', 'NET_RAW', 'SETGID', 'SETUID', 'SETFCAP', 'SETPCAP'],
  ...['NET_BIND_SERVICE', 'SYS_CHROOT', 'KILL', 'AUDIT_WRITE'],
].map((name) => `CAP_${name}`);

/** Files of the image. Docker and containerd give a hard link's mode to the file itself. */
export const IMAGE_FILES = busyboxFiles().map((item) => (item.type === 'hardlink' ? { ...item, mode: 0o755 } : item));

/** The seccomp profile that every runtime gets, as text and as a file. */
export interface SharedInput extends Disposable {
  readonly folder: string;
  /** Root file system of Debian's busybox. */
  readonly tar: string;
  readonly seccomp: string;
  readonly seccompFile: string;
}

/** Writes the input of a run into a temporary folder, removed at the end. */
export function makeInput(): SharedInput {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-bench-'));
  const tar = join(folder, 'rootfs.tar');
  writeFileSync(tar, makeTar(IMAGE_FILES));
  const seccomp = JSON.stringify(defaultSeccompProfile(CAPABILITIES));
  const seccompFile = join(folder, 'seccomp.json');
  writeFileSync(seccompFile, seccomp);
  return {
    folder,
    tar,
    seccomp,
    seccompFile,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A net namespace of a peer's own, so that its bridge and its rules are not the host's; removed by `close`. */
export function makeNetns(label: string): { readonly prefix: readonly string[]; close(): void } {
  const name = `bench-${label}-${process.pid}`;
  execFileSync('ip', ['netns', 'add', name]);
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  // nsenter, not `ip netns exec`: that one mounts /sys anew, without the cgroup hierarchies.
  return {
    prefix: ['nsenter', `--net=/run/netns/${name}`],
    close: () => void execFileSync('ip', ['netns', 'del', name]),
  };
}

const TMPFS_MAGIC = 0x01021994;

/** A folder for run-time state, in memory as /run is on a host that systemd started. */
export function makeRunFolder(label: string): string {
  const parent = ['/run', '/dev/shm'].find((path) => statfsSync(path).type === TMPFS_MAGIC) ?? tmpdir();
  return mkdtempSync(join(parent, `windlass-bench-${label}-`));
}

/** Unmounts everything below `folder` and deletes it. */
export function removeFolder(folder: string): void {
  umountTree(folder);
  rmSync(folder, { recursive: true, force: true });
}

/** Runs a program whose streams a container may inherit: a pipe would stay open as long as that lives. */
export function runDetached(argv: readonly string[], options: { cwd?: string } = {}): Promise<void> {
  const [file = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { ...options, stdio: 'ignore' });
    child.once('error', reject);
    child.once('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`${argv.join(' ')} ended with ${String(code)}`)),
    );
  });
}
