// What the shim remembers of sandboxes and containers, one JSON file each. A record is written before the thing it
// describes is made and removed after that is gone, so a crash at any point leaves something to finish from.
import type { ContainerConfig, LinuxContainerResources, PodSandboxConfig } from '../../cri/messages.ts';
import type { UserMapping } from '../oci-runtime/oci-spec.ts';
import type { ProcessIdentity } from '../../lib/process-identity.ts';

/** A user namespace, which owns the other namespaces of its sandbox. */
export interface UserNamespaceRecord {
  /** Where it is pinned. */
  readonly path: string;
  readonly mapping: UserMapping;
}

export interface SandboxRecord {
  readonly id: string;
  /** creating: may be half made; ready; stopped: nothing on the host but files and this record. */
  readonly phase: 'creating' | 'ready' | 'stopped';
  readonly config: PodSandboxConfig;
  readonly runtimeHandler: string;
  readonly createdAtMs: number;
  readonly hostname: string;
  /** Folder with its files and namespace pins. */
  readonly directory: string;
  /** Pinned namespaces of its own or of the sandbox it joins; absent = the host's. */
  readonly namespaces: {
    readonly net?: string;
    readonly ipc?: string;
    readonly uts?: string;
    readonly user?: UserNamespaceRecord;
  };
  /** The sandbox whose network it uses instead of one of its own. */
  readonly networkOf?: string;
  /**
   * Process 1 of the pid namespace that its containers share; absent = none was asked for so far. `planned` is on disk
   * before the process is made.
   */
  readonly pidHolder?: 'planned' | ProcessIdentity;
}

export interface ContainerRecord {
  readonly id: string;
  readonly sandboxId: string;
  readonly phase: 'creating' | 'created' | 'running' | 'exited' | 'removing';
  /** Without the environment: it is in the bundle only, which goes with the container. */
  readonly config: ContainerConfig;
  /** `sha256:...` of the image's configuration. */
  readonly imageId: string;
  /** `repository@sha256:...`, or the id for an image that came from no registry. */
  readonly imageRef: string;
  readonly bundle: string;
  readonly cgroupsPath: string;
  readonly logPath?: string;
  readonly createdAtMs: number;
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  /** Why it is being ended, or was: it took more of the disk than it may. */
  readonly eviction?: string;
  /** First process of the container. */
  readonly init?: ProcessIdentity;
  readonly conmon?: ProcessIdentity;
  readonly user?: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };
  readonly stopSignal: number;
  readonly resources: LinuxContainerResources | null;
}

/** Created or running: it has a monitor and has not ended. */
export const isLive = (record: ContainerRecord | undefined): record is ContainerRecord =>
  record?.phase === 'running' || record?.phase === 'created';

/** The name under which a sandbox may exist once. */
export function sandboxKey(config: PodSandboxConfig): string {
  const { namespace = '', name = '', uid = '', attempt = 0 } = config.metadata ?? {};
  return JSON.stringify([namespace, name, uid, attempt]);
}

/** The name under which a container may exist once. */
export function containerKey(sandboxId: string, config: ContainerConfig): string {
  return JSON.stringify([sandboxId, config.metadata?.name ?? '', config.metadata?.attempt ?? 0]);
}
