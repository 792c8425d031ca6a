// The contract between the calls and the builder: what a build is asked for, and what is told while it runs.

export type ContextSource =
  | { readonly kind: 'inline'; readonly files: ReadonlyMap<string, string> }
  /** A folder of this machine. */
  | { readonly kind: 'folder'; readonly path: string }
  /** A tar (gzip and zstd too) in the content store. */
  | { readonly kind: 'archive'; readonly digest: string }
  /** `#ref:folder` at its end picks a ref and a folder. */
  | { readonly kind: 'git'; readonly url: string };

export interface BuildRequest {
  /** One build of a name at a time; also the name of the places it works in. */
  readonly id: string;
  readonly context: ContextSource;
  /** Below the context. */
  readonly dockerfile: string;
  readonly dockerfileInline?: string | undefined;
  readonly target?: string | undefined;
  readonly args: ReadonlyMap<string, string>;
  readonly labels: ReadonlyMap<string, string>;
  readonly secrets: ReadonlyMap<string, Buffer>;
  readonly noCache: boolean;
  /** Ask the registries for base images that are here, too. */
  readonly pull: boolean;
  /** `os/architecture[/variant]`. */
  readonly platform?: string | undefined;
  /** Names that the image gets. */
  readonly references: readonly string[];
  /** Network of RUN instructions; none = they have loopback alone. */
  readonly network?: string | undefined;
  /** Images in registries whose layers may be taken instead of running a step, and where to leave that. */
  readonly cacheFrom: readonly string[];
  readonly cacheTo?: string | undefined;
  readonly credentials: readonly BuildCredentials[];
}

export interface BuildCredentials {
  /** Registry host. */
  readonly registry: string;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly identityToken?: string | undefined;
}

/** Where a Dockerfile is wrong, or the instruction that failed. Line and column start at 1. */
export interface SourcePosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export type BuildEvent =
  /** Lines of the build log, each ending in a newline. */
  | { readonly kind: 'log'; readonly text: string }
  | { readonly kind: 'step'; readonly step: number; readonly steps: number; readonly instruction: string };

export interface BuildResult {
  readonly imageId: string;
  /** Of the manifest. */
  readonly digest: string;
  /** Instructions, and of those that may add a layer how many were found in the cache and how many carried out. */
  readonly steps: number;
  readonly cachedSteps: number;
  readonly performedSteps: number;
  /** Commit that a git context had. */
  readonly commit?: string;
}

/** What the layer cache of this node holds. */
export interface BuildCacheUsage {
  readonly entries: number;
  readonly sizeBytes: number;
  /** Of it, what an image of this node has as well, and what could be freed. */
  readonly sharedBytes: number;
}

export interface ImageBuilder {
  /**
   * Builds and names an image. Throws Invalid for a Dockerfile, a context or a command that fails, with `position` and
   * `instruction` in its details where one is to blame. The build waits for what `onEvent` returns, and so does a command
   * that writes more than is read.
   */
  build(
    request: BuildRequest,
    options: { readonly signal: AbortSignal; readonly onEvent: (event: BuildEvent) => Promise<void> | void },
  ): Promise<BuildResult>;
  cacheUsage(): Promise<BuildCacheUsage>;
  /** Forgets cached steps until at most `keepBytes` are left, those not used for longest first; gives the bytes freed. */
  pruneCache(keepBytes: number): Promise<number>;
  /** Ends what a killed process left: mounts, processes, working folders. */
  recover(): Promise<void>;
}
