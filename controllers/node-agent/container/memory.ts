// What the agent remembers of one Container between reconciliations. All of it may be lost: it is either found again
// from the runtime, or only makes a retry come sooner.
import type { ContainerStatus } from '../../../crds/container.ts';
import type { ResolvedHealthCheck } from '../health/health-check.ts';
import type { InspectedImage, SandboxNetwork } from '../runtime/node-runtime.ts';
import type { StartFailure } from './plan.ts';

export interface ContainerMemory {
  /** When the present try to start began: with pull policy Always, a pull must be newer. */
  startIntentMs: number | undefined;
  startFailure: StartFailure | undefined;
  network: { readonly sandboxId: string; readonly value: SandboxNetwork } | undefined;
  image: InspectedImage | undefined;
  /** Identity of the resources last applied, by container id. */
  appliedResources: { readonly containerId: string; readonly key: string } | undefined;
  /** attachmentKey() by network, as the sandbox was connected last. */
  appliedAttachments: { readonly sandboxId: string; readonly keys: Map<string, string> } | undefined;
  isPaused: boolean;
  driftError: { readonly reason: string; readonly message: string } | undefined;
  healthCheck: ResolvedHealthCheck | undefined;
  /** resourceVersion after the last own status write: an older cached object is not compared with. */
  statusVersion: number;
  /** The status as the server had it after that write. */
  lastStatus: ContainerStatus | undefined;
  readonly unhealthyStops: Set<string>;
  /** Everything of it is off the host, and the server knows: whatever the cache shows yet is of the past. */
  isReleased: boolean;
}

export interface MemoryStore {
  of(uid: string): ContainerMemory;
  /** Drops all but these. */
  retain(uids: ReadonlySet<string>): void;
}

/** An empty store. */
export function createMemoryStore(): MemoryStore {
  const byUid = new Map<string, ContainerMemory>();
  return {
    of(uid) {
      let memory = byUid.get(uid);
      if (!memory) {
        memory = {
          startIntentMs: undefined,
          startFailure: undefined,
          network: undefined,
          image: undefined,
          appliedResources: undefined,
          appliedAttachments: undefined,
          isPaused: false,
          driftError: undefined,
          healthCheck: undefined,
          statusVersion: 0,
          lastStatus: undefined,
          unhealthyStops: new Set(),
          isReleased: false,
        };
        byUid.set(uid, memory);
      }
      return memory;
    },
    retain(uids) {
      for (const uid of byUid.keys()) if (!uids.has(uid)) byUid.delete(uid);
    },
  };
}
