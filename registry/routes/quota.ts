// What a push may still bring. Bytes that are on their way count as if they were there, so that many uploads at once
// cannot go past a limit that each of them keeps.
import { formatSize } from '../../lib/quantity.ts';
import { refuse } from '../oci-errors.ts';
import type { Upload } from '../store/uploads.ts';
import type { RouteDeps } from './call.ts';

/**
 * A check for so many bytes more, or for an upload of so many in all, of which `upload` has been counted already. It throws
 * DENIED with the limit; status 403, which docker, podman and skopeo show and do not try again.
 */
export function createQuotaCheck(
  { store, uploads, rules }: RouteDeps,
  repository: string,
  upload?: Upload,
): (totalBytes: number) => void {
  const { maxBytes, maxRepositoryBytes } = rules;
  return (totalBytes) => {
    const counted = upload === undefined ? 0 : uploads.countedBytes(upload);
    const inRepository = (store.repository(repository)?.sizeBytes ?? 0) + uploads.usage(repository).bytes - counted;
    if (maxRepositoryBytes > 0 && inRepository + totalBytes > maxRepositoryBytes) {
      throw refuse('DENIED', over(`repository ${repository}`, maxRepositoryBytes, inRepository, totalBytes));
    }
    const inStore = store.storedBytes() + uploads.usage().bytes - counted;
    if (maxBytes > 0 && inStore + totalBytes > maxBytes) {
      throw refuse('DENIED', over('the registry', maxBytes, inStore, totalBytes));
    }
  };
}

/** Room for bytes that come without an upload, kept until they are there. Throws as the check does. */
export function takeRoom(deps: RouteDeps, repository: string, bytes: number): Disposable {
  createQuotaCheck(deps, repository)(bytes);
  return deps.uploads.reserve(repository, bytes);
}

function over(what: string, limit: number, used: number, more: number): string {
  return `quota of ${what} is ${formatSize(limit)}: ${formatSize(used)} are used, ${formatSize(more)} more do not fit`;
}
