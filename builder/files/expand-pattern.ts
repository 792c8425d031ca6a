// The paths that a COPY's pattern means: each folder is searched for what one component matches (filepath.Match), and no
// link is followed on the way through components with wildcards.
import { readdirSync, type BigIntStats } from 'node:fs';
import { bytePath, nativePath } from '../../oci/layers/file-system-calls.ts';
import type { SourceTree } from './builder-files.ts';
import type { IgnoreRules } from './ignore.ts';
import { compilePattern, hasWildcard, literalOf } from './pattern.ts';
import { lookAt, openSource, partsOf, textOf } from './source-path.ts';

/**
 * Paths below the root of `tree` as components (byte strings), sorted; without wildcards the path itself. `onFolder` is
 * told of a folder before its names are read.
 */
export function expandPattern(
  tree: SourceTree,
  rules: IgnoreRules,
  pattern: string,
  onFolder?: (stat: BigIntStats) => void,
): string[][] {
  const parts = partsOf(tree, pattern);
  const first = parts.findIndex(hasWildcard);
  const fixed = parts.slice(0, first === -1 ? parts.length : first).map((part) => bytePath(literalOf(part)));
  if (first === -1) return [fixed];
  using start = openSource(tree, rules, fixed);
  if (!start?.stat.isDirectory()) return [];
  let found: string[][] = [[]];
  for (const part of parts.slice(first)) {
    const matches = compilePattern(part, { isGlobstar: false });
    const names = (above: readonly string[]): string[] => {
      const folder = [start.path, ...above].join('/');
      const stat = above.length > 0 ? lookAt(folder) : start.stat;
      if (!stat?.isDirectory()) return [];
      onFolder?.(stat);
      return readdirSync(nativePath(folder), { encoding: 'latin1' }).filter((name) => matches(textOf(name)));
    };
    found = found.flatMap((above) => names(above).map((name) => [...above, name]));
  }
  return found.map((path) => [...start.parts, ...path]).toSorted(byComponents);
}

function byComponents(a: readonly string[], b: readonly string[]): number {
  const at = a.findIndex((part, index) => part !== b[index]);
  return at === -1 ? a.length - b.length : (a[at] as string) < (b[at] ?? '') ? -1 : 1;
}
