// Huge page limits. A kubelet names every page size of the host in every request, mostly with limit 0, whether or not
// there is a controller: what changes nothing is dropped, the rest must be possible.
import { readdirSync } from 'node:fs';
import { errnoOf, WindlassError } from '../../lib/errors.ts';

export interface HugepageLimit {
  readonly pageSize: string;
  readonly limit: number;
}

/** Page sizes of the host as control groups name them: `2MB`, `1GB`. */
export function hostHugepageSizes(folder = '/sys/kernel/mm/hugepages'): string[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
  return names.flatMap((name) => {
    const kilobytes = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
    return kilobytes > 0 ? [sizeName(kilobytes)] : [];
  });
}

function sizeName(kilobytes: number): string {
  if (kilobytes >= 2 ** 20) return `${kilobytes / 2 ** 20}GB`;
  return kilobytes >= 2 ** 10 ? `${kilobytes / 2 ** 10}MB` : `${kilobytes}KB`;
}

/** The limits that can be set, given the sizes that have a controller; Invalid names one that cannot. */
export function checkHugepages(
  limits: readonly HugepageLimit[],
  available: ReadonlySet<string>,
): readonly HugepageLimit[] {
  return limits.filter(({ pageSize, limit }) => {
    if (!/^[1-9]\d{0,5}[KMG]B$/.test(pageSize)) {
      throw new WindlassError('Invalid', `resources.hugepage_limits: invalid page size ${JSON.stringify(pageSize)}`);
    }
    if (available.has(pageSize)) return true;
    if (limit === 0) return false;
    const why = available.size === 0 ? 'this host has no hugetlb controller' : 'this host has no pages of that size';
    throw new WindlassError('Invalid', `resources.hugepage_limits: no limit can be set on ${pageSize} pages: ${why}`);
  });
}
