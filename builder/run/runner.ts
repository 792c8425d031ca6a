// What running the RUN instructions of a build needs and gives: see run-step.ts for how.
import type { Cgroups } from '../../runtime-shim/cgroups/cgroups.ts';
import type { MovePrimer } from '../../runtime-shim/cgroups/move-primer.ts';
import type { WritableResources } from '../../runtime-shim/cgroups/resources.ts';
import type { Spawner } from '../../runtime-shim/host/spawn.ts';
import type { OciRuntime } from '../../runtime-shim/oci-runtime/runtime.ts';
import type { SeccompProfiles } from '../../runtime-shim/oci-runtime/seccomp-choice.ts';
import type { Instance } from '../../lib/instance.ts';
import type { Logger } from '../../lib/log.ts';
import type { FileSource, RunOperation } from '../operations.ts';
import type { CacheMounts } from './cache-mounts.ts';

/** A file or folder by the folder that holds all of its source, and its path in there, which may lead over links. */
export interface SourceTree {
  /** Absolute on the host: root of a stage's or an image's file system, or of the context. */
  readonly tree: string;
  /** As written in the instruction; followed as if `tree` were the root of everything. */
  readonly path: string;
}

/** What a step gets of the network of its build. */
export interface StepNetwork {
  /** A pinned net namespace. */
  readonly netnsPath: string;
  /** Text of /etc/resolv.conf. */
  readonly resolvConf: string;
  /** Address of the steps in it, for /etc/hosts. */
  readonly ipv4Address: string;
}

/** The network that the steps of one build share; see openBuildNetwork() of the shim. */
export interface BuildNetwork {
  /** Made with the first call; the same from then on. */
  connect(): Promise<StepNetwork>;
}

export interface StepContext {
  /** Letters, digits, `-`, `_` and `.`: names the control groups of its steps. */
  readonly buildId: string;
  /** The mounted writable overlay of the step. */
  readonly root: string;
  /** Where a source lies; the trees stay as they are and where they are until the step is over. */
  sourceOf(from: FileSource, path: string): SourceTree | Promise<SourceTree>;
  /** id -> bytes. */
  readonly secrets: ReadonlyMap<string, Buffer>;
  /** Undefined = steps have loopback alone. */
  readonly network: BuildNetwork | undefined;
  /**
   * Called with each line of stdout and stderr, in the order they were written, without its line feed; a line of more
   * than 16 KB in pieces. The next one waits for the promise, and so, in the end, does the command.
   */
  onOutput(line: string): void | Promise<void>;
  /** Limits of the step's control group. */
  readonly resources?: Pick<WritableResources, 'memoryBytes' | 'cpuShares' | 'cpuQuotaUs' | 'cpuPeriodUs' | 'pids'>;
  /** Ends the step with everything in it. */
  readonly signal: AbortSignal;
}

export interface StepResult {
  /** For dropCopies(), once the overlay is unmounted. */
  readonly copiedFolders: readonly string[];
}

export interface Runner {
  /**
   * Runs the command of a RUN instruction in `context.root`, and leaves there what it did to it and nothing else: no
   * mount point, no file of the step's own (but see `copiedFolders`). Steps may run at the same time, each on a root of its own. Rejects with
   * Invalid when the command fails (`details`: `exitCode`, `signal`, `isOutOfMemory`, `output`) or cannot be started,
   * NotFound for a source or secret that is not there, and with the signal's reason when that fires; nothing of the
   * step is left then either.
   */
  run(operation: RunOperation, context: StepContext): Promise<StepResult>;
  /** Removes what steps of an earlier process left. To be awaited before the first run(). */
  recover(): Promise<void>;
}

export interface RunnerParts {
  readonly instance: Instance;
  readonly log: Logger;
  readonly spawner: Spawner;
  /** Opens the OCI runtime with its state in the folder `root`. */
  openRuntime(root: string): OciRuntime;
  readonly cgroups: Cgroups;
  /** Group that those of the steps are made below. */
  readonly cgroupParent: string;
  /** Told when the OCI runtime is about to move a process into a group. */
  readonly moves: MovePrimer;
  readonly profiles: SeccompProfiles;
  /** Capabilities of this process. */
  readonly ownCapabilities: ReadonlySet<string>;
  readonly caches: CacheMounts;
}
