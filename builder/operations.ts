// What an instruction asks of the file system of its stage, once its words are expanded: evaluated by
// `instructions/`, keyed by `cache/`, carried out by `run/` and `files/`. Plain data: the same operation on the same
// parent and the same files gives the same layer.

/** Where the files of a COPY, an ADD or a bind mount come from. */
export type FileSource =
  | { readonly kind: 'context' }
  /** An earlier stage by its index. */
  | { readonly kind: 'stage'; readonly index: number }
  /** An image by reference. */
  | { readonly kind: 'image'; readonly reference: string };

/** A file whose text is in the Dockerfile. */
export interface InlineFile {
  /** Name below the destination. */
  readonly name: string;
  readonly content: string;
}

export interface CopyOperation {
  readonly kind: 'copy';
  /** ADD fetches URLs and unpacks local archives; COPY does neither. */
  readonly instruction: 'ADD' | 'COPY';
  readonly from: FileSource;
  /** Patterns below the source's root, as written; `http(s)://` and git addresses for ADD. */
  readonly sources: readonly string[];
  readonly files: readonly InlineFile[];
  /** Absolute, or ending in `/` where it has to be a directory. */
  readonly destination: string;
  /** user[:group], names or numbers; names are looked up in the stage's own /etc/passwd and /etc/group. */
  readonly chown?: string;
  /** Octal, e.g. `0644`, or the symbolic form of chmod(1). */
  readonly chmod?: string;
  /** The layer does not depend on what lies below it. */
  readonly link: boolean;
  /** Parent directories of the sources are kept, from a `/./` in the pattern on. */
  readonly parents: boolean;
  readonly exclude: readonly string[];
  /** `sha256:...` of the one URL. */
  readonly checksum?: string;
  /** Whether ADD unpacks archives: by default local ones are, fetched ones are not. */
  readonly unpack?: boolean;
  /** ADD of a git repository keeps `.git`. */
  readonly keepGitDir: boolean;
}

/** COPY of one source to the root, as it is. */
export const plainCopy = (from: FileSource, source: string): CopyOperation => ({
  ...{ kind: 'copy', instruction: 'COPY', from, sources: [source], files: [], destination: '/' },
  ...{ link: false, parents: false, exclude: [], keepGitDir: false },
});

export type RunMount =
  | {
      readonly type: 'bind';
      readonly target: string;
      readonly from: FileSource;
      readonly source: string;
      /** What is written is thrown away after the step. */
      readonly isWritable: boolean;
    }
  | {
      readonly type: 'cache';
      readonly target: string;
      readonly id: string;
      /** Initial content. */
      readonly from?: FileSource;
      readonly source: string;
      readonly sharing: 'shared' | 'private' | 'locked';
      readonly isReadOnly: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | { readonly type: 'tmpfs'; readonly target: string; readonly sizeBytes?: number }
  | {
      readonly type: 'secret';
      readonly id: string;
      /** Where it is a file; absent when it is only a variable. */
      readonly target?: string;
      /** Name of the variable that holds it. */
      readonly env?: string;
      readonly isRequired: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    };

export interface RunOperation {
  readonly kind: 'run';
  /** What is executed, shell included. */
  readonly args: readonly string[];
  /** NAME=value; ARG values are in it. */
  readonly env: readonly string[];
  /** NAME=value of proxy settings that no ARG declares: the command has them, the layer does not depend on them. */
  readonly proxyEnv: readonly string[];
  readonly cwd: string;
  /** As in the image configuration; empty = root. */
  readonly user: string;
  readonly mounts: readonly RunMount[];
  readonly network: 'default' | 'none';
  /** Paths of VOLUMEs so far: what is written there is not kept. */
  readonly volumes: readonly string[];
  /** An executable file (0755) that is there, read-only, while the command runs: `/dev/pipes/<name>`, as `args` say. */
  readonly script?: { readonly name: string; readonly content: string };
}

/** Makes the directory, with its parents, if it is not there. */
export interface WorkdirOperation {
  readonly kind: 'workdir';
  readonly path: string;
  /** Owner of what is made, as in the image configuration; empty = root. */
  readonly user: string;
}

export type Operation = CopyOperation | RunOperation | WorkdirOperation;
