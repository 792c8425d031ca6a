// What applyCopy() has to do, found by resolveCopy(): plain data, so that it can be handed from thread to thread. Paths
// and names are byte strings.

export interface PlannedEntry {
  /** Below the source; '' = the source itself, when it is a file. */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo';
  /** As it will be in the image. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly sizeBytes?: number;
  /** Of a file: what it is known by, and what it held. */
  readonly identity?: string;
  readonly sha256?: string;
  /** The identity alone does not tell that it is unchanged. */
  readonly isFresh?: boolean;
  /** Target of a link; of a hard link the path of an earlier entry. */
  readonly linkName?: string;
  /** A folder that an archive only implied: one that is there stays as it is, and a link to one is followed. */
  readonly isImplied?: boolean;
  readonly major?: number;
  readonly minor?: number;
  readonly xattrs?: readonly (readonly [name: string, value: Uint8Array])[];
}

export interface PlannedSource {
  /** As the Dockerfile has it, for messages. */
  readonly label: string;
  /** Folder on the host that the paths of entries start at, or the file. */
  readonly origin: string;
  /** Of a context, which its files' identities depend on (content-memo.ts). */
  readonly isContext: boolean;
  /** Its name below a destination that is a directory. */
  readonly name: string;
  /** Its entries go into the destination; else it has one entry, which becomes the destination or goes into it. */
  readonly isDirectory: boolean;
  /** An ADD unpacks it when it is an archive. */
  readonly isUnpacked: boolean;
  /** It was one: as with tar, its entries take the place of whatever has their names. */
  readonly isArchive?: boolean;
  readonly entries: readonly PlannedEntry[];
}

export interface CopyPlan {
  /** Absolute path in the image; ending in `/` where it has to be a directory. */
  readonly destination: string;
  /** `user[:group]`. */
  readonly chown?: string;
  readonly sources: readonly PlannedSource[];
  readonly files: readonly {
    readonly name: string;
    readonly content: string;
    readonly mode: number;
  }[];
}
