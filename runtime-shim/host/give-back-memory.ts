// Memory that only the start of the process used: pages of the program and its libraries, and what malloc keeps for
// later. Clean pages of a file are dropped from this process only; whichever is needed again is mapped again without
// being read.
import { readFileSync } from 'node:fs';
import koffi from 'koffi';

const MADV_DONTNEED = 4;

export interface Mapping {
  readonly start: bigint;
  readonly end: bigint;
}

/** Drops what can be had again for nothing. Done once, some seconds after the start. */
export function giveBackMemory(): void {
  const library = koffi.load(null);
  const madvise = library.func('madvise', 'int', ['uintptr_t', 'size_t', 'int']);
  const trim = library.func('malloc_trim', 'int', ['size_t']);
  trim(0);
  // Advice: a kernel that does not take it leaves things as they are.
  for (const { start, end } of cleanFileMappings(readFileSync('/proc/self/smaps', 'utf8')))
    madvise(start, end - start, MADV_DONTNEED);
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
