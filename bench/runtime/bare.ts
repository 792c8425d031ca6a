// The floor: `runc run -d` and `crun run -d` of the same files; no network, no logs, no daemon.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../../cli/preflight.ts';
import { parseCgroupMounts } from '../../runtime-shim/cgroups/cgroups.ts';
import { hidingArguments, mountToHide } from '../../runtime-shim/oci-runtime/hidden-mount.ts';
import { makeRunFolder, PeerMissing, removeFolder, runDetached, SLEEP, type Peer, type SharedInput } from './peer.ts';
import { readKernelText } from '../../lib/kernel-file.ts';

/** `program` by its own command line. crun gets what it needs on a host with both kinds of control groups. */
export function createBare(input: SharedInput, program: 'runc' | 'crun'): Promise<Peer> {
  const path = findProgram(program, process.env['PATH']);
  if (path === undefined) throw new PeerMissing(`${program} is not installed`);
  const folder = mkdtempSync(join(tmpdir(), `windlass-bench-${program}-`));
  const state = makeRunFolder(program);
  mkdirSync(`${folder}/rootfs`);
  execFileSync('tar', ['-xf', input.tar, '-C', `${folder}/rootfs`]);
  execFileSync('runc', ['spec'], { cwd: folder });
  const spec = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8')) as {
    process: { terminal: boolean; args: string[] };
    linux: { seccomp?: unknown };
  };
  spec.process = { ...spec.process, terminal: false, args: SLEEP };
  spec.linux.seccomp = JSON.parse(input.seccomp);
  writeFileSync(`${folder}/config.json`, JSON.stringify(spec));
  const mountinfo = readKernelText('/proc/self/mountinfo');
  const hidden = program === 'crun' ? mountToHide(parseCgroupMounts(mountinfo)) : undefined;
  const command = hidden === undefined ? [path] : ['unshare', ...hidingArguments(path, hidden, mountinfo)];
  const id = (name: string): string => `bench-${process.pid}-${name}`;
  const run = (...args: string[]): Promise<void> =>
    runDetached([...command, '--root', state, ...args], { cwd: folder });
  return Promise.resolve({
    name: `bare ${program}`,
    start: (name) => run('run', '-d', id(name)),
    remove: (name) => run('delete', '--force', id(name)),
    execTrue: (name) => run('exec', id(name), '/bin/true'),
    close() {
      for (const path of [state, folder]) removeFolder(path);
      return Promise.resolve();
    },
  });
}
