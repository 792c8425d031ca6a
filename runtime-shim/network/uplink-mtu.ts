// The node's own MTU: that of the link its default route leaves by.
import { errnoOf } from '../../lib/errors.ts';
import { readKernelText } from '../../lib/kernel-file.ts';

const ETHERNET_MTU = 1500;

/** MTU of the default route's link; Ethernet's where there is none. */
export function uplinkMtu(): number {
  const routes = readIfThere('/proc/net/route').split('\n').slice(1);
  const uplink = routes.map((line) => line.split('\t')).find(([, destination]) => destination === '00000000')?.[0];
  const mtu = uplink === undefined ? 0 : Number(readIfThere(`/sys/class/net/${uplink}/mtu`));
  return mtu > 0 ? mtu : ETHERNET_MTU;
}

function readIfThere(file: string): string {
  try {
    return readKernelText(file);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}
