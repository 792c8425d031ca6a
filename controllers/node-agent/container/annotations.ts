// What the agent writes on sandboxes and containers of the runtime, so that after a restart it finds from the runtime
// alone what they are, and what CRI has no field for.

/** The agent's own memory. */
export const ANNOTATIONS = {
  /** Hash of the part of the spec that replaces the container when it changes. */
  specHash: 'windlass.dev/spec-hash',
  /** Restarts by policy until this run. */
  restartCount: 'windlass.dev/restart-count',
  /** Runs in a row, before this one, that ended too soon to count as stable. */
  shortRuns: 'windlass.dev/short-runs',
  /** spec.restartedAt when this run was created. */
  restartedAt: 'windlass.dev/restarted-at',
  /** metadata.generation when this run was created. */
  generation: 'windlass.dev/generation',
  /** Digest of the image's manifest. */
  imageDigest: 'windlass.dev/image-digest',
  /** The image reference, written out in full. */
  image: 'windlass.dev/image',
  /** On the sandbox: whose namespaces it joined, see targetKeyOf(). */
  target: 'windlass.dev/target',
  /** JSON of status.lastTermination: how the run before this one ended. */
  lastTermination: 'windlass.dev/last-termination',
  /** JSON of status.mounts. */
  mounts: 'windlass.dev/mounts',
} as const;

/** What the runtime reads. JSON where the value is not a plain text. */
export const RUNTIME_ANNOTATIONS = {
  /** List of Attachment, see cri/proto/node.proto. */
  attachments: 'network.windlass.dev/attachments',
  /** On the sandbox: list of {ip, hostnames[]} for /etc/hosts. */
  hostAliases: 'runtime.windlass.dev/host-aliases',
  domainname: 'runtime.windlass.dev/domainname',
  /** On the sandbox: size of /dev/shm in bytes. */
  shmSize: 'runtime.windlass.dev/shm-size',
  /** On the container: list of {path, sizeBytes, mode}. */
  tmpfs: 'runtime.windlass.dev/tmpfs',
  /** On the container: list of {name, soft, hard}. */
  ulimits: 'runtime.windlass.dev/ulimits',
  /** On the container: most processes. */
  pidsLimit: 'runtime.windlass.dev/pids-limit',
  /** On the container: bytes and inodes of its writable layer; 0 = no limit. */
  ephemeralStorage: 'runtime.windlass.dev/ephemeral-storage',
  ephemeralInodes: 'runtime.windlass.dev/ephemeral-inodes',
  /** On the container: list of gids or names. */
  groups: 'runtime.windlass.dev/groups',
  /** On the container: `true` runs an init as process 1. */
  init: 'runtime.windlass.dev/init',
  /** On the container: list of the mounts' container paths whose source must not lead over a link. */
  noFollow: 'runtime.windlass.dev/no-follow',
  /** On the container: name of the writable layer, see rootfs-key.ts. */
  rootfsKey: 'runtime.windlass.dev/rootfs-key',
} as const;

export const MANAGED_LABEL = 'windlass.dev/managed';

/** A number that the agent wrote; 0 when absent or damaged. */
export function numberAnnotation(annotations: Readonly<Record<string, string>>, key: string): number {
  const value = Number(annotations[key] ?? 0);
  return Number.isFinite(value) ? value : 0;
}
