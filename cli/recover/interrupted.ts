// A recovery that was cut off, by a crash or a power cut, before the store was in its place.
import { existsSync } from 'node:fs';
import { WindlassError } from '../../lib/errors.ts';
import { paths, type Instance } from '../../lib/instance.ts';

/**
 * Throws Conflict where that has happened: etcd would start with an empty store, and the nodes remove the containers that
 * it does not know.
 */
export function refuseInterrupted(instance: Instance): void {
  if (!existsSync(paths.etcdRecovered(instance)) || existsSync(paths.etcdData(instance))) return;
  throw new WindlassError(
    'Conflict',
    `a recovery of ${instance.home} was interrupted, and there is no store: finish it with windlass recover`,
  );
}
