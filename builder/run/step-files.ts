// /etc/hosts, /etc/hostname and /etc/resolv.conf while a step runs: files of its own, which it may change in vain.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OciMount } from '../../runtime-shim/oci-runtime/oci-spec.ts';
import { isWithin, resolveInRoot } from '../../runtime-shim/oci-runtime/rooted-path.ts';
import type { MountPoints } from './mount-points.ts';
import type { StepNetwork } from './runner.ts';
import { STEP_HOSTNAME } from './step-spec.ts';

export interface StepFilesInput {
  readonly root: string;
  /** Folder of the step for them. */
  readonly folder: string;
  readonly points: MountPoints;
  readonly network: StepNetwork | undefined;
  /** Mounts of the instruction: what is below one of them is not ours to name. */
  readonly mounts: readonly OciMount[];
}

/** Writes the files; returns their mounts. */
export function mountStepFiles({ root, folder, points, network, mounts }: StepFilesInput): OciMount[] {
  const own = network === undefined ? [] : [`${network.ipv4Address}\t${STEP_HOSTNAME}`];
  const texts: Readonly<Record<string, string>> = {
    hosts: ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback', ...own, ''].join('\n'),
    hostname: `${STEP_HOSTNAME}\n`,
    'resolv.conf': network?.resolvConf ?? '',
  };
  return Object.entries(texts).flatMap(([name, text]) => {
    const destination = resolveInRoot(root, `/etc/${name}`).path;
    // Images do have links to /proc/sys/kernel/hostname and the like, which say what they should.
    const taken = ['/proc', '/sys', '/dev', ...mounts.map((mount) => mount.destination)];
    if (taken.some((other) => isWithin(destination, other))) return [];
    points.ensure(destination, 'file', `/etc/${name}`);
    const source = join(folder, name);
    writeFileSync(source, text, { mode: 0o644 });
    return [{ destination, type: 'bind', source, options: ['bind', 'rw', 'nosuid', 'nodev', 'noexec'] }];
  });
}
