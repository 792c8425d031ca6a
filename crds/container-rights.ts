// The parts of a Container that say what its process may do: capabilities, kernel parameters, limits, devices.
import { z } from 'zod';
import { absolutePath, integer, listSet, withRules, worded } from './fields.ts';

// capabilities(7), with or without the CAP_ prefix as Docker takes them.
const CAPABILITIES =
  'AUDIT_CONTROL|AUDIT_READ|AUDIT_WRITE|BLOCK_SUSPEND|BPF|CHECKPOINT_RESTORE|CHOWN|DAC_OVERRIDE|DAC_READ_SEARCH|FOWNER|FSETID|IPC_LOCK|IPC_OWNER|KILL|LEASE|LINUX_IMMUTABLE|MAC_ADMIN|MAC_OVERRIDE|MKNOD|NET_ADMIN|NET_BIND_SERVICE|NET_BROADCAST|NET_RAW|PERFMON|SETFCAP|SETGID|SETPCAP|SETUID|SYSLOG|SYS_ADMIN|SYS_BOOT|SYS_CHROOT|SYS_MODULE|SYS_NICE|SYS_PACCT|SYS_PTRACE|SYS_RAWIO|SYS_RESOURCE|SYS_TIME|SYS_TTY_CONFIG|WAKE_ALARM';
const capability = () =>
  worded(`^(ALL|(CAP_)?(${CAPABILITIES}))$`, 32, 'is not a capability: see capabilities(7), e.g. NET_ADMIN');

export const SecurityContext = withRules(
  z.object({
    privileged: z
      .boolean()
      .default(false)
      .describe('All capabilities, all devices, nothing masked: root on the host in all but name.'),
    capabilities: z
      .object({
        add: listSet(capability(), 64)
          .optional()
          .describe('Added to the default set, e.g. NET_ADMIN; ALL for every one.'),
        drop: listSet(capability(), 64)
          .optional()
          .describe('Taken from the default set; ALL for every one. add wins over drop.'),
      })
      .optional()
      .describe("Changes to Docker's default set of capabilities."),
    readOnlyRootFilesystem: z.boolean().default(false).describe('Only mounts can be written.'),
    allowPrivilegeEscalation: z
      .boolean()
      .default(true)
      .describe('False sets no_new_privs: set-uid programs give no rights.'),
    seccompProfile: withRules(
      z.object({
        type: z
          .enum(['RuntimeDefault', 'Unconfined', 'Localhost'])
          .default('RuntimeDefault')
          .describe('Which system calls are allowed.'),
        localhostProfile: absolutePath().optional().describe('File of a profile on the node, for type Localhost.'),
      }),
      {
        rule: "(self.type == 'Localhost') == has(self.localhostProfile)",
        message: 'localhostProfile must be set for type Localhost, and only then',
        fieldPath: '.localhostProfile',
      },
    )
      .optional()
      .describe('Filter of system calls; RuntimeDefault unless said.'),
    userNamespace: z
      .enum(['Host', 'Auto'])
      .default('Host')
      .describe("Auto maps the container's users to unused ones of the host."),
  }),
  {
    rule: '!self.privileged || self.allowPrivilegeEscalation',
    message: 'cannot be false when privileged is true',
    fieldPath: '.allowPrivilegeEscalation',
  },
);
export type SecurityContext = z.infer<typeof SecurityContext>;

export const Sysctl = withRules(
  z.object({
    name: z
      .string()
      .max(253)
      .regex(/^(net\.[-_a-zA-Z0-9./]+|kernel\.(msg[a-z_]+|sem|shm[a-z_]+)|fs\.mqueue\.[a-z_]+)$/)
      .describe('A parameter that belongs to a namespace: net.*, kernel.msg*, kernel.sem, kernel.shm* or fs.mqueue.*.'),
    value: z
      .string()
      .max(1024)
      .regex(/^[-a-zA-Z0-9_.,:/]+([ \t][-a-zA-Z0-9_.,:/]+)*$/)
      .describe('The value.'),
  }),
  {
    rule: "!self.name.contains('..') && !self.name.contains('//')",
    message: 'is not a parameter name',
    fieldPath: '.name',
  },
);

const limit = () => integer(-1, Number.MAX_SAFE_INTEGER);
export const Ulimit = withRules(
  z.object({
    name: z
      .enum([
        'core',
        'cpu',
        'data',
        'fsize',
        'locks',
        'memlock',
        'msgqueue',
        'nice',
        'nofile',
        'nproc',
        'rss',
        'rtprio',
        'rttime',
        'sigpending',
        'stack',
      ])
      .describe('Which limit, as in setrlimit(2).'),
    soft: limit().describe('The limit in force; -1 is unlimited.'),
    hard: limit().describe('How far the container may raise it; -1 is unlimited.'),
  }),
  {
    rule: 'self.hard == -1 || (self.soft != -1 && self.soft <= self.hard)',
    message: 'soft must not be above hard',
    fieldPath: '.soft',
  },
);

export const Device = z.object({
  hostPath: absolutePath().describe('The device on the node, e.g. /dev/fuse.'),
  containerPath: absolutePath().optional().describe('Its path in the container; hostPath unless said.'),
  permissions: z
    .string()
    .regex(/^(r|w|m|rw|rm|wm|rwm)$/)
    .default('rwm')
    .describe('Any of r (read), w (write), m (mknod).'),
});
