// The writable part of an overlay: what a container changed.
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';

/** Upper folder of the overlay mounted at `mountPoint`, by the text of a mountinfo file (proc(5)). */
export function upperDirOf(mountPoint: string, mountinfo: string): string | undefined {
  const decode = (text: string): string =>
    text.replaceAll(/\\([0-7]{3})/g, (_match, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
  const line = mountinfo.split('\n').findLast((candidate) => decode(candidate.split(' ')[4] ?? '') === mountPoint);
  const [type, , options = ''] = line?.split(' - ')[1]?.split(' ') ?? [];
  const upper = /(?:^|,)upperdir=([^,]*)/.exec(options)?.[1];
  return type === 'overlay' && upper !== undefined ? decode(upper) : undefined;
}

export interface Changes {
  /** Paths relative to the upper folder of what is there, parents first. */
  readonly present: readonly string[];
  /** Paths of what the container took away from its image. */
  readonly deleted: readonly string[];
}

/** What is in an upper folder; a whiteout is a character device 0/0 (overlayfs documentation). */
export async function listChanges(upper: string): Promise<Changes> {
  const present: string[] = [];
  const deleted: string[] = [];
  const todo = ['.'];
  while (todo.length > 0) {
    const folder = todo.pop() as string;
    for await (const entry of await opendir(join(upper, folder))) {
      const path = `${folder}/${entry.name}`;
      if (entry.isCharacterDevice() && (await lstat(join(upper, path))).rdev === 0) {
        deleted.push(path.slice(1));
        continue;
      }
      present.push(path);
      if (entry.isDirectory()) todo.push(path);
    }
  }
  return { present, deleted };
}
