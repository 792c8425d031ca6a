// Archive: a tar that was uploaded to be built from or imported. Made by an upload alone; the bytes are on nodes.
import { GROUP, VERSION, type KindName, type KubernetesObject } from './kind.ts';

export interface Archive extends KubernetesObject {
  /** Of the tar, as it was sent. */
  readonly digest: string;
  readonly sizeBytes: number;
  /** Names of the nodes that have it. */
  readonly nodes: readonly string[];
  /** When it is removed; absent while an Image of its namespace names it. */
  readonly expiresAt?: string | null;
}

export const archiveKind: KindName & { readonly type?: Archive } = {
  group: GROUP,
  version: VERSION,
  kind: 'Archive',
  plural: 'archives',
  namespaced: true,
};

/** How long an Archive is kept that no Image names. */
export const ARCHIVE_KEPT_MS = 24 * 3600 * 1000;

/** Name of the Archive with these bytes. */
export const archiveName = (digest: string): string => digest.replace(':', '-');

/** What the agent of a node answers when it has taken in the bytes. */
export interface UploadedArchive {
  readonly digest: string;
  readonly sizeBytes: number;
}
