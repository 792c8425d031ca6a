// The contract between a build and its files: where they come from, what a COPY or ADD takes of them, how that gets into
// an image, and how a changed image becomes a layer.
//
// The order is openContext, then for each COPY and ADD resolveCopy, then, where the cache has no layer for the digest,
// applyCopy into a mounted overlay, and writeLayer of its upper directory once it is unmounted. Calls may run at the same
// time, also for one tree. Nothing is shared between builds but what is remembered of the contents of files.
import type { Digest } from '../../oci/digest.ts';
import type { LayerOptions, WrittenLayer } from '../../oci/layers/diff-layer.ts';
import type { ContentStore } from '../../oci/content-store.ts';
import type { ContextSource } from '../../runtime-shim/images/image-builder.ts';
import type { CopyOperation } from '../operations.ts';

/** Files that can be copied from: a context, or the root of a stage or an image. */
export interface SourceTree {
  /** Folder on the host. Links are followed inside it alone. */
  readonly root: string;
  /** What messages call it: `the build context`, `stage "build"`, `image busybox:1`. */
  readonly label: string;
  /** Of a context the owners are 0:0 and a path above the root is refused; of an image both are as in a container. */
  readonly isContext: boolean;
  /** Patterns of what is not there, in the form of a .dockerignore file (ignore.ts), and the file they are from. */
  readonly ignore: readonly string[];
  readonly ignoreFile?: string;
  /** Where the times on disk mean nothing: one for all files (a commit's), or `none`, which leaves them to the clamp of the layer. */
  readonly times?: number | 'none';
  /** Modes become those that git knows, 755 and 644. */
  readonly hasGitModes?: boolean;
}

export interface Context extends AsyncDisposable {
  readonly tree: SourceTree;
  readonly dockerfile: {
    /** Below the context. */
    readonly path: string;
    readonly text: string;
  };
  /** Commit that a git context had. */
  readonly commit?: string;
}

export interface ContextOptions {
  /** Below the context; not read when `dockerfileInline` is there. */
  readonly dockerfile: string;
  readonly dockerfileInline?: string | undefined;
  /** Existing folder of the build, for what is unpacked or fetched. */
  readonly workDir: string;
  readonly store: ContentStore;
  /** Keeps a blob of the store from garbage collection for as long as the build takes. */
  readonly protect: (digest: Digest) => void;
  readonly signal: AbortSignal;
  /** One line for each thing fetched. */
  readonly onLog?: (line: string) => void;
}

/**
 * Makes the files of a context available and reads its Dockerfile and .dockerignore (open-context.ts). Throws Invalid for
 * a context that cannot be used, NotFound for a folder, an archive or a Dockerfile that is not there.
 */
export type OpenContext = (source: ContextSource, options: ContextOptions) => Promise<Context>;

export interface BuilderFilesOptions {
  /** Keeps the compiled code of the thread for large trees, which then starts in half the time. */
  readonly compileCacheDir?: string;
}

/** create-builder-files.ts: one for the whole process; disposing of it ends its thread. */
export type CreateBuilderFiles = (options?: BuilderFilesOptions) => BuilderFiles;

export interface ResolveOptions {
  /** Existing folder of the build: what is fetched goes there, and stays until its owner deletes it. */
  readonly workDir: string;
  readonly signal: AbortSignal;
  /** One line for each thing fetched. */
  readonly onLog?: (line: string) => void;
}

/** What a COPY or an ADD takes, as it was when it was looked at. */
export interface ResolvedCopy {
  /**
   * Of names, types, modes, owners as they will be in the image, contents, link targets and extended attributes; not of
   * times. What the operation says itself (destination, chown by name) is not in it.
   */
  readonly digest: Digest;
  /** Newest modification time, rounded down; undefined when there is none (inline files alone). */
  readonly newestSeconds: number | undefined;
  readonly entries: number;
  readonly sizeBytes: number;
  /** For applyCopy(), for as long as the trees are where they were. */
  readonly plan: unknown;
}

export interface ApplyOptions {
  /** Existing folder of the build, on a disk with room for what archives unpack to. */
  readonly workDir: string;
  readonly signal: AbortSignal;
  /** Where /etc/passwd and /etc/group are looked up; by default the root itself. For `--link`: the stage below. */
  readonly usersRoot?: string;
}

export interface LayerWriteOptions extends LayerOptions {
  readonly signal: AbortSignal;
}

export interface BuilderFiles extends AsyncDisposable {
  /**
   * Looks up what `operation` copies, reads what is not remembered, and fetches URLs and repositories. `tree` is where
   * its `from` is. Throws Invalid for a source that is missing, ignored or outside, naming the pattern and the tree.
   */
  resolveCopy(operation: CopyOperation, tree: SourceTree, options: ResolveOptions): Promise<ResolvedCopy>;
  /**
   * Writes it below `root`, a mounted overlay or an empty folder that nobody else writes to. Links in it never lead out.
   * Throws Conflict when a source is no longer what was resolved, Invalid when the destination cannot take it.
   */
  applyCopy(resolved: ResolvedCopy, root: string, options: ApplyOptions): Promise<void>;
  /** Writes the tar of an overlay's upper directory (oci/layers/diff-layer.ts) to the new file `target`. */
  writeLayer(upperDir: string, target: string, options: LayerWriteOptions): Promise<WrittenLayer>;
}
