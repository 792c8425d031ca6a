// Container: one container, in its own network namespace unless shared.
import { z } from 'zod';
import { ContainerPorts, Dns, HostAlias, Mount, NetworkAttachment, VolumesFrom } from './container-mounts.ts';
import { EnvFrom, EnvVar, HealthCheck, Logging, Placement, Resources, Toleration } from './container-process.ts';
import { Device, SecurityContext, Sysctl, Ulimit } from './container-rights.ts';
import { ContainerStatus } from './container-status.ts';
import { AGE_COLUMN, MESSAGE_COLUMN, readyColumn, REASON_COLUMN } from './columns.ts';
import {
  hostName,
  imageReference,
  integer,
  list,
  listMap,
  listSet,
  objectName,
  pattern,
  quantity,
  seconds,
  stringMap,
  time,
  withRules,
  worded,
  type Rule,
} from './fields.ts';
import { GROUP, VERSION, type CustomKind, type KubernetesObject } from './kind.ts';

// 0 to 2147483647: runtimes read a larger number as root or not at all.
const ID =
  '([0-9]{1,9}|1[0-9]{9}|20[0-9]{8}|21([0-3][0-9]{7}|4([0-6][0-9]{6}|7([0-3][0-9]{5}|4([0-7][0-9]{4}|8([0-2][0-9]{3}|3([0-5][0-9]{2}|6([0-3][0-9]|4[0-7]))))))))';
const ACCOUNT = '[a-zA-Z_][-a-zA-Z0-9_.]{0,63}[$]?';

/** Rules that need no old value, so that they also hold for the template of a Service. */
const RULES: readonly Rule[] = [
  {
    rule: 'has(self.image) != has(self.imageName)',
    message: 'exactly one of image and imageName must be set',
    fieldPath: '.image',
  },
  {
    rule: '!self.hostNetwork || !has(self.networks) || self.networks.size() == 0',
    message: 'must be absent or empty when hostNetwork is true',
    fieldPath: '.networks',
  },
  {
    rule: '!has(self.shareNamespaces) || !has(self.shareNamespaces.network) || (!self.hostNetwork && (!has(self.networks) || self.networks.size() == 0))',
    message: 'network cannot be shared together with hostNetwork or networks',
    fieldPath: '.shareNamespaces',
  },
  {
    rule: '!has(self.shareNamespaces) || !has(self.shareNamespaces.network) || !has(self.ports) || self.ports.all(p, !has(p.hostPort))',
    message: 'a port is published by the container whose network namespace it is, not by the one that shares it',
    fieldPath: '.ports',
  },
  {
    rule: '!(self.hostPID && has(self.shareNamespaces) && has(self.shareNamespaces.pid))',
    message: 'cannot be true when shareNamespaces.pid is set',
    fieldPath: '.hostPID',
  },
  {
    rule: '!(self.hostIPC && has(self.shareNamespaces) && has(self.shareNamespaces.ipc))',
    message: 'cannot be true when shareNamespaces.ipc is set',
    fieldPath: '.hostIPC',
  },
  { rule: '!self.stdinOnce || self.stdin', message: 'needs stdin', fieldPath: '.stdinOnce' },
  {
    rule: "!self.hostNetwork || !has(self.sysctls) || self.sysctls.all(s, !s.name.startsWith('net.'))",
    message: 'net.* would change the node when hostNetwork is true',
    fieldPath: '.sysctls',
  },
  {
    rule: "!self.hostIPC || !has(self.sysctls) || self.sysctls.all(s, s.name.startsWith('net.'))",
    message: 'kernel.* and fs.mqueue.* would change the node when hostIPC is true',
    fieldPath: '.sysctls',
  },
  {
    rule: "!has(self.maxRetries) || self.restartPolicy == 'OnFailure'",
    message: 'needs restartPolicy OnFailure',
    fieldPath: '.maxRetries',
  },
];

export const ContainerSpec = withRules(
  z.object({
    image: imageReference()
      .optional()
      .describe(
        'The image to run, as [registry/]repository[:tag][@digest]; docker.io/library/ and :latest are implied. It is looked up among the Images of the namespace (reference and tags), then on the node, then at the registry. Exactly one of image and imageName.',
      ),
    imageName: objectName()
      .optional()
      .describe('Name of an Image in the same namespace. Exactly one of image and imageName.'),
    imagePullPolicy: z
      .enum(['IfNotPresent', 'Always', 'Never'])
      .default('IfNotPresent')
      .describe('When the registry is asked. An Image that was built or imported is never overridden by a pull.'),
    imagePullSecrets: listMap(z.object({ name: objectName().describe('Name of the Secret.') }), ['name'], 16)
      .optional()
      .describe('Secrets of type kubernetes.io/dockerconfigjson with credentials for the registry.'),
    command: list(z.string(), 4096)
      .optional()
      .describe("Replaces the image's ENTRYPOINT (and its CMD). $(NAME) is replaced by a variable of env."),
    args: list(z.string(), 4096)
      .optional()
      .describe("Replaces the image's CMD. $(NAME) is replaced by a variable of env."),
    workingDir: pattern('^/[^\\x00]*$', 4096)
      .optional()
      .describe("Folder the process starts in; the image's unless said. Made when missing."),
    user: worded(
      `^(${ID}|${ACCOUNT})(:(${ID}|${ACCOUNT}))?$`,
      140,
      'must be uid[:gid] or names, e.g. 1000:1000 or nobody; numbers up to 2147483647',
    )
      .optional()
      .describe("User and group as uid[:gid] or names of the image's passwd and group files; the image's unless said."),
    groups: listSet(worded(`^(${ID}|${ACCOUNT})$`, 70, 'must be a gid up to 2147483647 or a name'), 64)
      .optional()
      .describe('Further groups of the process, as gids or names.'),
    env: listMap(EnvVar, ['name'], 4096)
      .optional()
      .describe("Environment variables; they win over envFrom, and that over the image's."),
    envFrom: list(EnvFrom, 64)
      .optional()
      .describe('ConfigMaps and Secrets whose keys become variables; later ones win.'),
    hostname: hostName().max(64).optional().describe("Hostname; the Container's name unless said."),
    domainname: hostName().max(64).optional().describe('NIS domain name.'),
    stdin: z.boolean().default(false).describe('Keep standard input open, for attach.'),
    stdinOnce: z.boolean().default(false).describe('Close standard input when the first attached client leaves.'),
    tty: z.boolean().default(false).describe('Give the process a terminal.'),
    ports: ContainerPorts.optional().describe('Ports of the container, and where they are published.'),
    publishAllPorts: z
      .boolean()
      .default(false)
      .describe('Publish every port that the image exposes on a free port of the node (see status.ports).'),
    networks: listMap(NetworkAttachment, ['name'], 32)
      .optional()
      .describe("Networks to join. Absent = the namespace's Network default; an empty list = none."),
    hostNetwork: z
      .boolean()
      .default(false)
      .describe("Use the node's network namespace. Every port is then open on the node without being published."),
    hostPID: z.boolean().default(false).describe("Use the node's process namespace."),
    hostIPC: z.boolean().default(false).describe("Use the node's IPC namespace."),
    shareNamespaces: z
      .object({
        network: objectName().optional().describe('Name of the Container whose network namespace to use.'),
        pid: objectName().optional().describe('Name of the Container whose process namespace to use.'),
        ipc: objectName().optional().describe('Name of the Container whose IPC namespace to use.'),
      })
      .optional()
      .describe('Namespaces of other Containers of the same namespace to join; all run on one node.'),
    dns: Dns.optional().describe('How names outside the networks are resolved.'),
    hostAliases: listMap(HostAlias, ['ip'], 256).optional().describe('Further lines of /etc/hosts.'),
    mounts: listMap(Mount, ['mountPath'], 256)
      .optional()
      .describe('Volumes, host paths, memory, ConfigMaps, Secrets and images in the file system.'),
    volumesFrom: listMap(VolumesFrom, ['container'], 32)
      .optional()
      .describe('Take over all volume mounts of other Containers.'),
    desiredState: z
      .enum(['Running', 'Stopped', 'Paused', 'Created'])
      .default('Running')
      .describe('What the container should be doing. Created = everything is ready but nothing started.'),
    restartedAt: time().optional().describe('Any new value restarts the container once.'),
    restartPolicy: z
      .enum(['Always', 'OnFailure', 'Never'])
      .default('Always')
      .describe('Whether the container is started again after it exits, with growing delays (reason BackOff).'),
    maxRetries: integer(0, 1_000_000).optional().describe('With OnFailure: how often at most; unlimited unless said.'),
    ttlSecondsAfterFinished: seconds()
      .optional()
      .describe('Delete the Container this long after it finished for good; 0 = at once; absent = never.'),
    anonymousVolumes: z
      .enum(['Retain', 'Delete'])
      .default('Retain')
      .describe('What happens to its anonymous volumes when the Container is deleted.'),
    terminationGracePeriodSeconds: seconds().default(10).describe('Time from the stop signal to the kill.'),
    stopSignal: z
      .string()
      .max(16)
      .regex(/^((SIG)?[A-Z][A-Z0-9]*([+-][0-9]{1,2})?|[1-9]|[1-5][0-9]|6[0-4])$/)
      .optional()
      .describe("Signal that asks the process to end; the image's, or SIGTERM."),
    healthCheck: HealthCheck.optional().describe(
      "How to find out whether the container works; absent = the image's HEALTHCHECK. One without exec, httpGet and tcpSocket sets the times of the image's.",
    ),
    onUnhealthy: z
      .enum(['Restart', 'None'])
      .default('Restart')
      .describe('What happens when the health check says Unhealthy.'),
    dependsOn: listMap(
      z.object({
        kind: z.enum(['Container', 'Service']).default('Container').describe('Kind of the object.'),
        name: objectName().describe('Name of the object in the same namespace.'),
        condition: z
          .enum(['Started', 'Healthy', 'Completed'])
          .default('Started')
          .describe('What must have happened to it.'),
      }),
      ['kind', 'name'],
      64,
    )
      .optional()
      .describe('Start only when these have come so far.'),
    resources: Resources.optional().describe('Limits and requests of CPU, memory and processes.'),
    securityContext: SecurityContext.optional().describe('Rights of the process.'),
    sysctls: listMap(Sysctl, ['name'], 64).optional().describe('Kernel parameters of its own namespaces.'),
    ulimits: listMap(Ulimit, ['name'], 16).optional().describe('Resource limits of the process.'),
    devices: list(Device, 128).optional().describe('Devices of the node.'),
    shmSize: quantity().default('64Mi').describe('Size of /dev/shm.'),
    init: z
      .boolean()
      .default(false)
      .describe('Run a small init as process 1, which forwards signals and reaps zombies.'),
    logging: Logging.prefault({}).describe('How much of its output is kept.'),
    priority: integer(-1_000_000_000, 1_000_000_000)
      .default(0)
      .describe(
        'Containers with a higher value are scheduled first; one that fits nowhere displaces replicas with a lower one.',
      ),
    nodeSelector: stringMap().optional().describe('Labels that the node must have.'),
    tolerations: list(Toleration, 64).optional().describe('Taints of nodes that do not keep it away.'),
    placement: Placement.optional().describe('Further wishes about the node.'),
    nodeName: objectName()
      .optional()
      .describe('The node. Set by the user at creation, or once by the scheduler; never changes.'),
  }),
  ...RULES,
);
export type ContainerSpec = z.infer<typeof ContainerSpec>;
/** What a user may write: fields with a default can be left out. */
export type ContainerSpecInput = z.input<typeof ContainerSpec>;

export { CONTAINER_PHASES, ContainerStatus, type ContainerPhase } from './container-status.ts';

export interface Container extends KubernetesObject {
  spec: ContainerSpec;
  status?: ContainerStatus;
}

export const containerKind: CustomKind<Container> = {
  group: GROUP,
  version: VERSION,
  kind: 'Container',
  plural: 'containers',
  singular: 'container',
  namespaced: true,
  shortNames: ['ctr'],
  categories: ['windlass', 'all'],
  description:
    'Container is one container on one node, kept as the spec says: started, restarted, checked, connected and cleaned up.',
  spec: ContainerSpec,
  status: ContainerStatus,
  specRules: [
    {
      rule: "!has(oldSelf.nodeName) || oldSelf.nodeName == '' || (has(self.nodeName) && self.nodeName == oldSelf.nodeName)",
      message: 'cannot be changed once set: delete the Container and create it again',
      fieldPath: '.nodeName',
    },
  ],
  columns: [
    { name: 'Status', type: 'string', jsonPath: '.status.phase', description: 'Where the container is in its life.' },
    readyColumn('Whether it does its work.'),
    REASON_COLUMN,
    {
      name: 'Restarts',
      type: 'integer',
      jsonPath: '.status.restartCount',
      description: 'How often it was started again.',
    },
    {
      name: 'Image',
      type: 'string',
      jsonPath: ".spec['image','imageName']",
      description: 'The image, or the name of the Image.',
    },
    {
      name: 'IP',
      type: 'string',
      jsonPath: '.status.networks[*].ipv4Address',
      priority: 1,
      description: 'Its addresses.',
    },
    { name: 'Node', type: 'string', jsonPath: '.spec.nodeName', priority: 1, description: 'The node it is bound to.' },
    MESSAGE_COLUMN,
    AGE_COLUMN,
  ],
  selectableFields: ['.spec.nodeName', '.spec.desiredState', '.spec.image', '.spec.imageName', '.status.phase'],
};
