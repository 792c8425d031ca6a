// What `windlass doctor` looks at: each check is one line, ok or missing, with how to get it.
import { existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseHostPort } from '../lib/host-port.ts';
import { readKernelText } from '../lib/kernel-file.ts';
import { findProgram, REQUIRED_PROGRAMS } from './preflight.ts';
import { isFree, isOwnAddress } from './ports.ts';
import type { UpOptions } from './options.ts';

export interface CheckResult {
  readonly name: string;
  readonly status: 'ok' | 'missing' | 'note';
  /** What was found, or how to get what is missing. */
  readonly detail: string;
}

/** Facts of the host, read through functions so that tests can pretend another host. */
export interface Host {
  readonly readText: (path: string) => string | undefined;
  readonly exists: (path: string) => boolean;
  readonly findProgram: (name: string) => string | undefined;
  readonly isFree: (port: number, host: string) => Promise<boolean>;
  readonly isOwnAddress: (host: string) => Promise<boolean>;
  readonly freeBytes: (path: string) => number;
  readonly uid: number;
}

export function thisHost(path: string | undefined): Host {
  return {
    readText: (file) => (existsSync(file) ? readKernelText(file) : undefined),
    exists: existsSync,
    findProgram: (name) => findProgram(name, path),
    isFree,
    isOwnAddress,
    freeBytes: (folder) => {
      let existing = folder;
      while (!existsSync(existing)) existing = dirname(existing);
      const { bavail, bsize } = statfsSync(existing);
      return bavail * bsize;
    },
    uid: process.getuid?.() ?? -1,
  };
}

const MIN_FREE_BYTES = 2 * 2 ** 30;
/** capabilities(7): number -> name, those windlass cannot do without, and those it can. */
const NEEDED_CAPABILITIES: Readonly<Record<number, string>> = {
  0: 'CHOWN',
  1: 'DAC_OVERRIDE',
  6: 'SETGID',
  7: 'SETUID',
  12: 'NET_ADMIN',
  18: 'SYS_CHROOT',
  21: 'SYS_ADMIN',
  27: 'MKNOD',
};
const CAP_SYS_RESOURCE = 24n;

/** All checks, in the order in which they are shown. */
export async function runChecks(
  host: Host,
  options: Pick<UpOptions, 'home' | 'run' | 'listen' | 'etcdServers'>,
): Promise<CheckResult[]> {
  return [
    checkPrivileges(host),
    checkCapabilities(host),
    ...checkPrograms(host, options.etcdServers === undefined),
    ...checkKernel(host),
    checkCgroups(host),
    await checkPort(host, options.listen),
    checkDisk(host, options.home),
    checkDisk(host, options.run, 64 * 2 ** 20),
  ];
}

function checkPrivileges(host: Host): CheckResult {
  return host.uid === 0
    ? { name: 'root', status: 'ok', detail: 'running as root' }
    : { name: 'root', status: 'missing', detail: 'run with sudo: namespaces, mounts and links need root' };
}

function checkCapabilities(host: Host): CheckResult {
  const bits = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(host.readText('/proc/self/status') ?? '')?.[1] ?? '0'}`);
  const lacks = Object.entries(NEEDED_CAPABILITIES).flatMap(([bit, name]) =>
    (bits >> BigInt(bit)) & 1n ? [] : [name],
  );
  if (lacks.length > 0)
    return {
      name: 'capabilities',
      status: 'missing',
      detail: `lacks ${lacks.map((name) => `CAP_${name}`).join(', ')}: start the machine or container that holds this process with them`,
    };
  return (bits >> CAP_SYS_RESOURCE) & 1n
    ? { name: 'capabilities', status: 'ok', detail: 'all that are needed' }
    : {
        name: 'capabilities',
        status: 'note',
        detail: 'no CAP_SYS_RESOURCE: limits above the own hard limits are lowered to them, with a warning',
      };
}

function checkPrograms(host: Host, needsEtcd: boolean): CheckResult[] {
  return Object.entries(REQUIRED_PROGRAMS)
    .filter(([program]) => needsEtcd || program !== 'etcd')
    .map(([program, debianPackage]) => {
      const path = host.findProgram(program);
      return path
        ? { name: program, status: 'ok', detail: path }
        : { name: program, status: 'missing', detail: `apt-get install ${debianPackage} (or: npm run setup)` };
    });
}

function checkKernel(host: Host): CheckResult[] {
  const filesystems = host.readText('/proc/filesystems') ?? '';
  const status = host.readText('/proc/self/status') ?? '';
  const feature = (name: string, isThere: boolean, how: string): CheckResult => ({
    name,
    status: isThere ? 'ok' : 'missing',
    detail: isThere ? 'in the kernel' : how,
  });
  const namespaces = ['net', 'ipc', 'uts', 'pid', 'mnt'].filter((name) => !host.exists(`/proc/self/ns/${name}`));
  return [
    feature('overlayfs', /\boverlay\b/.test(filesystems), 'modprobe overlay'),
    feature('namespaces', namespaces.length === 0, `the kernel lacks: ${namespaces.join(', ')}`),
    feature('seccomp', /^Seccomp:/m.test(status), 'a kernel with CONFIG_SECCOMP_FILTER'),
    feature('ip forwarding', host.exists('/proc/sys/net/ipv4/ip_forward'), 'a kernel with IPv4 networking'),
  ];
}

function checkCgroups(host: Host): CheckResult {
  const mounts = host.readText('/proc/self/mountinfo') ?? '';
  const controllers = new Set(
    [...mounts.matchAll(/ - cgroup \S+ (\S+)/g)]
      .flatMap(([, options = '']) => options.split(','))
      .concat((host.readText('/sys/fs/cgroup/cgroup.controllers') ?? '').trim().split(' ')),
  );
  const lacks = ['cpu', 'memory', 'pids'].filter((name) => !controllers.has(name));
  const version = / - cgroup /.test(mounts) ? 'v1' : 'v2';
  return lacks.length === 0
    ? { name: 'cgroups', status: 'ok', detail: `${version} with cpu, memory and pids` }
    : {
        name: 'cgroups',
        status: 'missing',
        detail: `no controller for ${lacks.join(', ')}: mount the cgroup hierarchy or enable it on the kernel command line`,
      };
}

async function checkPort(host: Host, listen: string): Promise<CheckResult> {
  const address = parseHostPort(listen);
  if (!(await host.isOwnAddress(address.host))) {
    const detail = `${address.host} is not an address of this machine: choose one with --listen`;
    return { name: 'API port', status: 'missing', detail };
  }
  return (await host.isFree(address.port, address.host))
    ? { name: 'API port', status: 'ok', detail: `${listen} is free` }
    : {
        name: 'API port',
        status: 'note',
        detail: `${listen} is in use (by windlass itself, if it runs); --listen chooses another`,
      };
}

function checkDisk(host: Host, folder: string, minBytes = MIN_FREE_BYTES): CheckResult {
  const free = host.freeBytes(folder);
  const text = `${(free / 2 ** 30).toFixed(1)} GiB free for ${folder}`;
  return free >= minBytes
    ? { name: 'disk', status: 'ok', detail: text }
    : { name: 'disk', status: 'missing', detail: `${text}: want at least ${(minBytes / 2 ** 30).toFixed(1)} GiB` };
}
