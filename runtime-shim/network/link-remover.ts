// Removing veth pairs. The kernel needs some 20 ms for a removal, whether of one link or of a hundred: links that are to
// go while a removal is under way wait and go together in the next one.
import type { Instance } from '../../lib/instance.ts';
import { deleteLinksInBackground } from '../host/rtnetlink.ts';

/** A function that removes a link and resolves when it is gone. `leaving` names those under way. */
export function createLinkRemover(
  instance: Instance,
  leaving: Set<string>,
  deleteLinks = deleteLinksInBackground,
): (name: string) => Promise<void> {
  // Link groups are numbers that tools use from 0 upwards; the top bit and the instance keep ours apart.
  const group = (Number.parseInt(instance.id, 16) | 0x80000000) >>> 0;
  let waiting: { names: Set<string>; done: Promise<void> } | undefined;
  let previous: Promise<unknown> = Promise.resolve();

  return (name) => {
    leaving.add(name);
    if (!waiting) {
      const names = new Set<string>();
      const done = previous.then(async () => {
        waiting = undefined;
        try {
          await deleteLinks([...names], group);
        } finally {
          for (const gone of names) leaving.delete(gone);
        }
      });
      previous = done.catch(() => undefined);
      waiting = { names, done };
    }
    waiting.names.add(name);
    return waiting.done;
  };
}
