// One shim per run folder: a file that names its holder, who may have died.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { identifyProcess, isRunning, type ProcessIdentity } from '../../lib/process-identity.ts';

/** Takes the lock or throws Conflict naming the holder; a dead holder's lock is taken over. */
export function acquireLock(file: string): Disposable {
  for (let tries = 0; ; tries += 1) {
    try {
      writeFileSync(file, JSON.stringify(identifyProcess(process.pid)), { flag: 'wx', mode: 0o600 });
      return { [Symbol.dispose]: () => rmSync(file, { force: true }) };
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST' || tries > 10) throw error;
      const holder = readHolder(file);
      if (holder && isRunning(holder)) {
        throw new WindlassError(
          'Conflict',
          `another runtime shim (process ${holder.pid}) uses this run folder: ${file}`,
        );
      }
      rmSync(file, { force: true });
    }
  }
}

function readHolder(file: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessIdentity;
  } catch (error) {
    // Gone meanwhile, or cut off while it was written by someone who died.
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
