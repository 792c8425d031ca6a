// One registry per folder: a file that names its process. What it says is checked against the processes there are, so
// that a claim ends with whoever made it, however that was.
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { identifyProcess, isRunning, type ProcessIdentity } from '../../lib/process-identity.ts';

/** Claims `folder` for this process until it is disposed. Throws Conflict that names the process that has it. */
export function claimFolder(folder: string): Disposable {
  const file = join(folder, 'registry.lock');
  const own = `${file}.${process.pid}`;
  writeFileSync(own, JSON.stringify(identifyProcess(process.pid)), { mode: 0o600 });
  try {
    for (;;) {
      try {
        // A link appears with its content, or not at all.
        linkSync(own, file);
        return { [Symbol.dispose]: () => rmSync(file, { force: true }) };
      } catch (error) {
        if (errnoOf(error) !== 'EEXIST') throw error;
      }
      const holder = readHolder(file);
      if (holder && isRunning(holder)) {
        throw new WindlassError('Conflict', `another registry (process ${holder.pid}) uses this folder: ${folder}`);
      }
      takeAside(folder, file);
    }
  } finally {
    rmSync(own, { force: true });
  }
}

/** Removes the claim of a process that is gone. Another one may have replaced it meanwhile: that one is put back. */
function takeAside(folder: string, file: string): void {
  const aside = `${file}.old.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  try {
    const holder = readHolder(aside);
    if (!holder || !isRunning(holder)) return;
    linkSync(aside, file);
    throw new WindlassError('Conflict', `another registry (process ${holder.pid}) uses this folder: ${folder}`);
  } finally {
    rmSync(aside, { force: true });
  }
}

function readHolder(file: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessIdentity;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
