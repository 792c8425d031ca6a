// What every container has something mounted on, as a layer below its image's: the OCI runtime would otherwise make what an
// image lacks of these in the writable layer of each container, with a copy of the folder around it, and somebody would
// have to delete that again. An image that has them, or has taken them away, covers this layer.
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';

const FOLDERS = ['dev', 'etc', 'proc', 'sys'];
const FILES = ['etc/hostname', 'etc/hosts', 'etc/resolv.conf'];

/** Makes the layer in `folder`, or what is missing of it. */
export function makeMountPoints(folder: string): void {
  for (const name of FOLDERS) mkdirSync(join(folder, name), { recursive: true, mode: 0o755 });
  for (const name of FILES) closeSync(openSync(join(folder, name), 'a', 0o644));
}
