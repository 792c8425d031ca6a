// What the calls work with, put together in main.ts; tests wrap single functions to make a step fail.
import type { Clock } from '../../lib/clock.ts';
import type { Instance } from '../../lib/instance.ts';
import type { Logger } from '../../lib/log.ts';
import type { ContainerEvent } from '../../cri/stats-messages.ts';
import type { Draft } from '../../cri/messages.ts';
import type { Cgroups } from '../cgroups/cgroups.ts';
import type { MovePrimer } from '../cgroups/move-primer.ts';
import type { SandboxNamespaces } from '../host/namespaces.ts';
import type { Spawner } from '../host/spawn.ts';
import type { UserNamespaceRequest } from '../host/user-namespace.ts';
import type { ImageService } from '../images/image-service.ts';
import type { NodeNetwork } from '../network/node-network.ts';
import type { PodNetwork } from '../network/pod-network.ts';
import type { FilterCache } from '../oci-runtime/filter-cache.ts';
import type { KnownSpecs } from '../oci-runtime/known-specs.ts';
import type { ReadyShell } from '../oci-runtime/ready-shell.ts';
import type { RelaxedTimers } from '../oci-runtime/relaxed-timers.ts';
import type { OciRuntime } from '../oci-runtime/runtime.ts';
import type { RuntimeRights } from '../oci-runtime/try-rights.ts';
import type { SeccompProfiles } from '../oci-runtime/seccomp-choice.ts';
import type { SandboxPool } from '../pool/sandbox-pool.ts';
import type { EventHub } from '../store/events.ts';
import type { ExitFiles } from '../store/exit-watcher.ts';
import type { KeyedQueue, SharedCalls } from '../../lib/keyed-queue.ts';
import type { StorageRules } from '../storage/layer-limits.ts';
import type { RecordStore } from '../store/record-store.ts';
import type { Turns } from '../store/turns.ts';
import type { StreamTarget } from '../streaming/targets.ts';

/** System calls of the sandbox steps. */
export interface SandboxHost {
  createSandboxNamespaces(wanted: SandboxNamespaces, inside?: () => void): void;
  /** The same for namespaces that belong to a new user namespace, but for the host name. */
  createUserNamespace(request: UserNamespaceRequest): Promise<void>;
  setHostname(utsPath: string, hostname: string, inside?: () => void): void;
  /** Pins the namespace that `source` (a file of /proc/<pid>/ns) is, at `path`. */
  pinNamespace(source: string, path: string): void;
  unpinNamespace(path: string): void;
  mountTmpfs(target: string, data: string): void;
  bindMount(source: string, target: string): void;
  mountIdMapped(source: string, target: string, userNamespace: string): void;
  unmount(target: string): void;
  /** Of several at once, while other work goes on. */
  unmountTogether(targets: readonly string[]): Promise<void>;
}

export interface Shim {
  readonly instance: Instance;
  readonly log: Logger;
  readonly clock: Clock;
  readonly store: RecordStore;
  readonly events: EventHub<Draft<ContainerEvent>>;
  readonly exits: ExitFiles;
  readonly queue: KeyedQueue;
  readonly turns: Turns;
  readonly shared: SharedCalls;
  readonly host: SandboxHost;
  readonly spawner: Spawner;
  readonly runtime: OciRuntime;
  /** The same runtime with its state in a folder of its own, for what is no container of CRI's. */
  openRuntime(root: string): OciRuntime;
  readonly filters: FilterCache;
  readonly profiles: SeccompProfiles;
  readonly specs: KnownSpecs;
  readonly conmonPath: string;
  /** conmon where programs are run in containers through it: see startExec(). */
  readonly execMonitorPath: string | undefined;
  readonly execShell: ReadyShell;
  readonly cgroups: Cgroups;
  readonly cgroupParent: string;
  /** Told when the OCI runtime is about to move a process into a group. */
  readonly moves: MovePrimer;
  /** For the creation of containers. */
  readonly timers: RelaxedTimers;
  readonly images: ImageService;
  readonly network: NodeNetwork;
  readonly pool: SandboxPool;
  readonly storage: StorageRules;
  readonly podNetwork: PodNetwork;
  /** What a trial at the start has shown to work. */
  readonly rights: RuntimeRights;
  /** Whether a swap limit can be set on this host. */
  readonly hasSwapLimit: boolean;
  /** Capabilities of this process. */
  readonly ownCapabilities: ReadonlySet<string>;
  /** Makes the one-shot URL of an exec, attach or port forwarding. */
  openStreamUrl(target: StreamTarget): string;
  readonly metricsAddress: string;
}
