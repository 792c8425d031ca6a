// What a container needs before it can be made, as far as it is there.
import type { EnvResult } from './env.ts';
import type { InspectedImage } from '../runtime/node-runtime.ts';
import type { PreparedMounts } from './container-config.ts';

/** One need that is met, or why not. `retryAtMs`: when to look again by the clock. */
export type Need<T> =
  | ({ readonly state: 'Ready' } & T)
  | { readonly state: 'Waiting'; readonly reason: string; readonly message: string; readonly retryAtMs?: number };

export interface Prepared {
  readonly dependencies: Need<object>;
  readonly image: Need<{ readonly image: InspectedImage; readonly reference: string }>;
  readonly volumes: Need<{
    readonly mounts: PreparedMounts;
    /** The environment, once the address is known. */
    readonly readEnv: (podIp: string | undefined) => EnvResult;
  }>;
  readonly network: Need<{
    readonly targetSandboxId?: string | undefined;
    /** Identity of what is shared: another one needs another sandbox. */
    readonly targetKey?: string | undefined;
    /** What `host-gateway` in hostAliases stands for. */
    readonly hostGateway: string;
  }>;
}

/** The first need that is not met, in the order a user thinks of them. */
export function firstMissing(prepared: Prepared): (Need<object> & { state: 'Waiting' }) | undefined {
  for (const need of [prepared.image, prepared.volumes, prepared.network, prepared.dependencies]) {
    if (need.state === 'Waiting') return need;
  }
  return undefined;
}
