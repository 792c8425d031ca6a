// What windlass can leave on a host, as sorted lines, so that before and after can be compared.
import { execFileSync } from 'node:child_process';
import { globSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kernelNames, type Instance } from '../../lib/instance.ts';
import { readKernelText } from '../../lib/kernel-file.ts';

/** Mounts below the folders of tests and of any instance, wherever those are. */
const TEMPORARY = new RegExp(` (${tmpdir()}|/run/netns)(/|$)|/(shim/(s|sealed|builds)|snapshots/(containers|views))/`);

export interface HostSnapshot {
  readonly mounts: string[];
  readonly links: string[];
  readonly nftTables: string[];
  readonly cgroups: string[];
  readonly processes: string[];
  readonly networkNamespaces: string[];
}

/** With the files in the instance's folders. */
export interface OwnSnapshot extends HostSnapshot {
  readonly files: string[];
}

/**
 * Objects of the host now. What belongs to somebody else (the link prefix, table and cgroup of another instance, mounts
 * in other temporary folders, named network namespaces) is left out: it may come and go while this instance is looked at.
 */
export function takeHostSnapshot(instance: Instance): HostSnapshot {
  const isForeign = (text: string): boolean =>
    (/\bwl[0-9a-f]{4}-|windlass-[0-9a-f]{8}|windlass-(test|bench)-|\/(run|var\/lib)\/windlass(\/|$)/.test(text) ||
      TEMPORARY.test(text)) &&
    ![kernelNames.linkPrefix(instance), instance.id, instance.home, instance.run].some((name) => text.includes(name));
  const keep = (lines: readonly string[]): string[] =>
    lines.filter((line) => line !== '' && !isForeign(line)).toSorted();
  const links = JSON.parse(execFileSync('ip', ['-j', 'link', 'show'], { encoding: 'utf8' })) as { ifname: string }[];
  return {
    mounts: keep(
      readKernelText('/proc/self/mountinfo')
        .split('\n')
        .map((line) => line.split(' ').slice(3, 5).join(' ')),
    ),
    links: keep(links.map(({ ifname }) => ifname)),
    nftTables: keep(execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' }).split('\n')),
    cgroups: keep(globSync('/sys/fs/cgroup/**/windlass-*')),
    processes: keep(processesOf(instance)),
    networkNamespaces: keep(namespacesOf(instance)),
  };
}

function processesOf(instance: Instance): string[] {
  return pids().flatMap((pid) => {
    const command = readQuietly(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '));
    return [instance.home, instance.run].some((folder) => command.includes(folder)) ? [command] : [];
  });
}

// Processes in a namespace of their own whose root or cgroup names the instance: containers that were left running.
function namespacesOf(instance: Instance): string[] {
  const own = readlinkSync('/proc/self/ns/net');
  return pids().flatMap((pid) => {
    const namespace = readQuietly(() => readlinkSync(`/proc/${pid}/ns/net`));
    const cgroup = readQuietly(() => readFileSync(`/proc/${pid}/cgroup`, 'utf8'));
    return namespace !== own && cgroup.includes(instance.id) ? [namespace] : [];
  });
}

const pids = (): string[] => readdirSync('/proc').filter((name) => /^\d+$/.test(name));

/** A process may end between being listed and being read: then there is nothing to say of it. */
function readQuietly(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

/** What the instance itself has on the host, its files included. Others may come and go with theirs meanwhile. */
export function takeOwnSnapshot(instance: Instance): OwnSnapshot {
  const { mounts, links, nftTables, cgroups, processes, networkNamespaces } = takeHostSnapshot(instance);
  const { home, run, id } = instance;
  return {
    mounts: mounts.filter((line) => line.includes(run) || line.includes(home)),
    links: links.filter((name) => name.startsWith(kernelNames.linkPrefix(instance))),
    nftTables: nftTables.filter((name) => name.includes(id)),
    cgroups: [...cgroups, ...globSync(`/sys/fs/cgroup/*${kernelNames.cgroupParent(instance)}/**`)].filter((path) =>
      path.includes(id),
    ),
    processes,
    // Once each, however many processes are in it at the moment.
    networkNamespaces: [...new Set(networkNamespaces)],
    files: [home, run]
      .flatMap((folder) => readdirSync(folder, { recursive: true }).map((name) => join(folder, String(name))))
      // Written whenever a thread ends, and the same for ever after.
      .filter((path) => !path.startsWith(join(home, 'compile-cache')))
      .toSorted(),
  };
}
