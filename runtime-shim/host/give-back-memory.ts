// Memory that only past work used: garbage, what malloc keeps for later, and pages of the program and its libraries.
// Clean pages of a file are dropped from this process only; whichever is needed again is mapped again without being read.
import { readFile } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import koffi from 'koffi';
import { onThread } from './libc.ts';

const MADV_DONTNEED = 4;

const library = koffi.load(null);
const madvise = library.func('madvise', 'int', ['uintptr_t', 'size_t', 'int']);
const trim = library.func('malloc_trim', 'int', ['size_t']);

export interface Mapping {
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * Drops what can be had again for nothing, the dear steps on threads of the pool. The collection of garbage stops the
 * process for as long as it takes to look at its whole heap: for a moment at which nobody waits.
 */
export async function giveBackMemory(): Promise<void> {
  collectGarbage();
  await nextTurn();
  await onThread(trim, 0);
  // Advice: a kernel that does not take it leaves things as they are.
  for (const { start, end } of cleanFileMappings(await readFile('/proc/self/smaps', 'utf8')))
    await onThread(madvise, start, end - start, MADV_DONTNEED);
}

/**
 * With --expose-gc on the command line V8 would not take the compiled code that comes within the program of Node, which
 * was made without that flag, and would keep another 1.4 MB of its own: so the flag is on for as long as it takes to make
 * a context, the only thing that looks at it.
 */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as NodeJS.GCFunction;
  setFlagsFromString('--no-expose-gc');
  collect({ type: 'major', execution: 'sync' });
}

/**
 * Mappings of files in the text of a smaps file (proc(5)) that cannot be written and hold nothing of their own: a page
 * that was changed, by relocation for one, would not come back as it was.
 */
export function cleanFileMappings(smaps: string): Mapping[] {
  return smaps.split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/).flatMap((block) => {
    const [, start = '', end = '', path = ''] =
      /^([0-9a-f]+)-([0-9a-f]+) r-[-x]p \S+ \S+ [1-9]\d*\s+(\/.*)/.exec(block) ?? [];
    const isOwn = /^(?:Private_Dirty|Anonymous|Swap|Locked): +[1-9]/m.test(block);
    if (path === '' || isOwn || !block.includes('Private_Dirty:')) return [];
    return [{ start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) }];
  });
}
