// What unpacking needs from the kernel and Node lacks. The runtime shim supplies it; nothing here knows how.

/** Paths are byte strings (one character per byte), never followed when they end in a link. Errors carry `code`. */
export interface FileSystemCalls {
  /** `mode` includes the file type bits (S_IFCHR...). */
  mknod(path: string, mode: number, major: number, minor: number): void;
  lsetxattr(path: string, name: string, value: Buffer): void;
  /** Every extended attribute of the path itself; empty where the file system has none. */
  readXattrs(path: string): Map<string, Buffer>;
  /** Sets the modification time (and access time) of the path itself. */
  lutimens(path: string, seconds: number, nanoseconds: number): void;
  /** The same for an open file. */
  futimens(fd: number, seconds: number, nanoseconds: number): void;
}

export const FILE_TYPE = {
  fifo: 0o010000,
  char: 0o020000,
  block: 0o060000,
} as const;

/** A byte string as a path that node:fs takes: the same bytes reach the kernel. */
export function nativePath(path: string): string | Buffer {
  for (let index = 0; index < path.length; index += 1) {
    if (path.charCodeAt(index) > 127) return Buffer.from(path, 'latin1');
  }
  return path;
}

/** The byte string of a path that Node gave as text. */
export function bytePath(path: string): string {
  return Buffer.from(path, 'utf8').toString('latin1');
}
