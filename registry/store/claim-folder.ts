// One registry per folder.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { claimFile } from '../../lib/claim-file.ts';
import { WindlassError } from '../../lib/errors.ts';
import { identifyProcess, type ProcessIdentity } from '../../lib/process-identity.ts';

/** Claims `folder` for this process until it is disposed. Throws Conflict that names the process that has it. */
export function claimFolder(folder: string): Disposable {
  const file = join(folder, 'registry.lock');
  const self = identifyProcess(process.pid) as ProcessIdentity;
  const taken = ({ pid }: ProcessIdentity): WindlassError =>
    new WindlassError('Conflict', `another registry (process ${pid}) uses this folder: ${folder}`);
  claimFile(file, self, taken);
  return { [Symbol.dispose]: () => rmSync(file, { force: true }) };
}
