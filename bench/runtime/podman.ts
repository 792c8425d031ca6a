// `podman run -d` on folders and in a net namespace of its own.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../../cli/preflight.ts';
import { runCommand } from '../../test/support/instance.ts';
import {
  makeNetns,
  makeRunFolder,
  PeerMissing,
  removeFolder,
  runDetached,
  SLEEP,
  type Peer,
  type SharedInput,
} from './peer.ts';

const IMAGE = 'localhost/busybox:bench';

export async function createPodman(input: SharedInput): Promise<Peer> {
  if (!findProgram('podman', process.env['PATH'])) throw new PeerMissing('podman is not installed');
  const folder = mkdtempSync(join(tmpdir(), 'windlass-bench-podman-'));
  const run = makeRunFolder('podman');
  // Its lock table is the one thing that it puts elsewhere.
  const locks = '/dev/shm/libpod_lock';
  const hadLocks = existsSync(locks);
  const netns = makeNetns('podman');
  // Everything by command line, so that no file of the host's own podman is read or written.
  const command = [
    ...[...netns.prefix, 'podman', '--root', `${folder}/root`, '--runroot', run],
    ...['--tmpdir', `${folder}/tmp`, '--network-config-dir', `${folder}/networks`, '--cgroup-manager', 'cgroupfs'],
    ...['--events-backend', 'none', '--runtime', 'runc', '--storage-driver', 'overlay'],
  ];
  const podman = (...args: string[]): Promise<void> => runDetached([...command, ...args]);
  const [file = '', ...args]: string[] = [...command, 'import', input.tar, IMAGE];
  const imported = await runCommand(file, args);
  if (imported.code !== 0) throw new Error(`podman import: ${imported.stderr}`);
  return {
    name: 'podman run -d',
    start: (name) =>
      podman(
        ...['run', '-d', '--name', name, '--log-driver', 'k8s-file'],
        // Its own default limits are above what a host without CAP_SYS_RESOURCE allows.
        ...[
          '--ulimit',
          'nofile=1024:1024',
          '--ulimit',
          'nproc=4096:4096',
          '--security-opt',
          `seccomp=${input.seccompFile}`,
          IMAGE,
          ...SLEEP,
        ],
      ),
    remove: (name) => podman('rm', '-f', '-t', '0', name),
    execTrue: (name) => podman('exec', name, '/bin/true'),
    close() {
      netns.close();
      for (const path of [run, folder]) removeFolder(path);
      if (!hadLocks) rmSync(locks, { force: true });
      return Promise.resolve();
    },
  };
}
