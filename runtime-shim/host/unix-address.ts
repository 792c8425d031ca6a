// Addresses of unix sockets whose path may be longer than an address can hold.
import { closeSync, constants, openSync } from 'node:fs';

export const AF_UNIX = 1;
const SUN_PATH_BYTES = 108;

export interface UnixAddress extends Disposable {
  /** For bind(2) and connect(2), until it is disposed. */
  readonly bytes: Buffer;
}

/** The address of the socket `name` in `directory`, through a descriptor of the directory. */
export function unixAddress(directory: string, name: string): UnixAddress {
  const folder = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  const bytes = Buffer.alloc(2 + SUN_PATH_BYTES);
  bytes.writeUInt16LE(AF_UNIX, 0);
  bytes.write(`/proc/self/fd/${folder}/${name}`, 2);
  return { bytes, [Symbol.dispose]: () => closeSync(folder) };
}
