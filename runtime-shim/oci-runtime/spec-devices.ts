// Devices of a container and the rules of its device cgroup.
import { readdirSync, statSync, type Stats } from 'node:fs';
import { join, relative } from 'node:path';
import type { Device } from '../../cri/messages.ts';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import type { OciDevice, OciDeviceRule } from './oci-spec.ts';

/** Not devices of the host but parts of a container's own /dev. */
const OWN_DIRECTORIES = new Set(['pts', 'shm', 'mqueue', 'fd', '.udev', '.lxc']);

/** Nodes to make and the rules; the runtime adds those every container needs (null, zero, tty, ...). */
export function planDevices(
  devices: readonly Device[],
  privileged: boolean,
): { devices: OciDevice[]; rules: OciDeviceRule[] } {
  if (privileged) return { devices: listDevices('/dev'), rules: [{ allow: true, access: 'rwm' }] };
  const planned = devices.flatMap((device, index) => {
    const label = `devices[${index}]`;
    const path = device.containerPath || device.hostPath;
    if (!path.startsWith('/') || path.split('/').includes('..')) {
      throw new WindlassError('Invalid', `${label}: invalid container path ${JSON.stringify(path)}`);
    }
    const access = device.permissions || 'rwm';
    if (!/^[rwm]{1,3}$/.test(access))
      throw new WindlassError('Invalid', `${label}: invalid permissions ${JSON.stringify(access)}`);
    const nodes = findDevices(device.hostPath, path, label);
    return nodes.map((node) => ({
      node,
      rule: { allow: true, type: node.type, major: node.major, minor: node.minor, access },
    }));
  });
  return {
    devices: planned.map(({ node }) => node),
    rules: [{ allow: false, access: 'rwm' }, ...planned.map(({ rule }) => rule)],
  };
}

/** The device, or with a folder every device below it, each at its place below the container's folder. */
function findDevices(hostPath: string, path: string, label: string): OciDevice[] {
  const stat = statDevice(hostPath, label);
  const nodes = stat.isDirectory()
    ? listDevices(hostPath).map((node) => ({ ...node, path: join(path, relative(hostPath, node.path)) }))
    : [describeDevice(path, stat)].filter((node) => node !== undefined);
  if (nodes.length === 0) {
    throw new WindlassError(
      'Invalid',
      `${label}: ${hostPath} is not a device${stat.isDirectory() ? ' and holds none' : ''}`,
    );
  }
  return nodes;
}

function statDevice(path: string, label: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT')
      throw new WindlassError('NotFound', `${label}: device ${path} does not exist`, { cause: error });
    throw error;
  }
}

function describeDevice(path: string, stat: Stats): OciDevice | undefined {
  if (!stat.isCharacterDevice() && !stat.isBlockDevice()) return undefined;
  return {
    path,
    type: stat.isBlockDevice() ? 'b' : 'c',
    // glibc's layout of dev_t.
    major: Number(((BigInt(stat.rdev) >> 8n) & 0xfffn) | ((BigInt(stat.rdev) >> 32n) & 0xfffff000n)),
    minor: Number((BigInt(stat.rdev) & 0xffn) | ((BigInt(stat.rdev) >> 12n) & 0xffffff00n)),
    fileMode: stat.mode & 0o777,
    uid: stat.uid,
    gid: stat.gid,
  };
}

function listDevices(folder: string): OciDevice[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return OWN_DIRECTORIES.has(entry.name) ? [] : listDevices(path);
    if (path === '/dev/console' || (!entry.isCharacterDevice() && !entry.isBlockDevice())) return [];
    const stat = statSync(path, { throwIfNoEntry: false });
    const device = stat && describeDevice(path, stat);
    return device ? [device] : [];
  });
}
