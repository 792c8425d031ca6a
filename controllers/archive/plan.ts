// How long an Archive is kept. Pure.
import { ARCHIVE_KEPT_MS, type Archive } from '../../crds/archive.ts';

export type ArchivePlan =
  | { readonly kind: 'keep'; readonly lookAgainMs: number | undefined }
  /** null = as long as it is used. */
  | { readonly kind: 'expire'; readonly atMs: number | null }
  | { readonly kind: 'delete' };

/** While an Image names it, and a day after that or after its upload. */
export function planArchive({ expiresAt }: Pick<Archive, 'expiresAt'>, isUsed: boolean, now: number): ArchivePlan {
  if (isUsed) return expiresAt ? { kind: 'expire', atMs: null } : { kind: 'keep', lookAgainMs: undefined };
  const atMs = Date.parse(expiresAt ?? '');
  if (Number.isNaN(atMs)) return { kind: 'expire', atMs: now + ARCHIVE_KEPT_MS };
  return atMs <= now ? { kind: 'delete' } : { kind: 'keep', lookAgainMs: atMs - now };
}
