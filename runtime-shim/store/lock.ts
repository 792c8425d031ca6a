// One shim per state folder and run folder: a file that the kernel locks for its holder, and that names it for people. A
// holder that dies, by whatever, lets go of it; what the file says is never believed, so nothing in it can be stale.
import { closeSync, constants, fstatSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { isUnavailable, WindlassError } from '../../lib/errors.ts';
import { identifyProcess } from '../../lib/process-identity.ts';
import { tryLock } from '../host/file-lock.ts';
import { asFolderError } from './record-file.ts';

/** Takes the lock, or throws Conflict naming the holder. The file stays when the lock is disposed: only its lock counts. */
export function acquireLock(file: string): Disposable {
  for (;;) {
    // Not for writing: an open file of that kind would keep its file system from being made read-only.
    const fd = openSync(file, constants.O_RDONLY | constants.O_CREAT, 0o600);
    if (!tryLock(fd)) {
      closeSync(fd);
      throw new WindlassError('Conflict', `another runtime shim (${readHolder(file)}) uses this folder: ${file}`);
    }
    // Somebody may have removed the file between the two calls: then the lock is of a file that no one else finds.
    if (statSync(file, { throwIfNoEntry: false })?.ino !== fstatSync(fd).ino) {
      closeSync(fd);
      continue;
    }
    noteHolder(file);
    return { [Symbol.dispose]: () => closeSync(fd) };
  }
}

function noteHolder(file: string): void {
  try {
    writeFileSync(file, JSON.stringify(identifyProcess(process.pid)));
  } catch (error) {
    // The note is for people; the lock stands without it.
    if (!isUnavailable(asFolderError(dirname(file), error))) throw error;
  }
}

function readHolder(file: string): string {
  const pid = /"pid":(\d+)/.exec(readFileSync(file, 'utf8'))?.[1];
  return pid === undefined ? 'of a process that did not leave its name' : `process ${pid}`;
}
