// What a caller tells our runtime by annotation because CRI has no field for it: written by the agent, read by the shim.
// JSON where the value is not a plain text.

export const RUNTIME_ANNOTATIONS = {
  /** List of Attachment, see proto/node.proto. */
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
  /** On the container: under which name its writable layer is kept when it goes. */
  rootfsKey: 'runtime.windlass.dev/rootfs-key',
} as const;
