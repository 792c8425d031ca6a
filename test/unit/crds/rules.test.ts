// What can never work is refused at write time, with a message that starts with the path of the field.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContainerSpec } from '../../../crds/index.ts';
import { parseReference } from '../../../oci/reference.ts';
import { check } from './check-object.ts';

interface Case {
  readonly name: string;
  readonly kind: string;
  readonly spec: object;
  readonly old?: object;
  /** Each must be a part of one complaint, and there must be no other; none = accepted. */
  readonly refused?: readonly string[];
}

const image = { image: 'busybox' };
const container = (name: string, spec: object, ...refused: string[]): Case => ({
  name,
  kind: 'Container',
  spec: { ...image, ...spec },
  refused,
});
const mount = (name: string, source: object, ...refused: string[]): Case =>
  container(`mount: ${name}`, { mounts: [{ mountPath: '/data', ...source }] }, ...refused);
const service = (name: string, spec: object, ...refused: string[]): Case => ({
  name: `service: ${name}`,
  kind: 'Service',
  spec: { template: { spec: image }, ...spec },
  refused,
});
const of = (kind: string, name: string, spec: object, ...refused: string[]): Case => ({
  name: `${kind}: ${name}`,
  kind,
  spec,
  refused,
});
const change = (kind: string, name: string, old: object, spec: object, ...refused: string[]): Case => ({
  name: `${kind} changed: ${name}`,
  kind,
  spec,
  old,
  refused,
});

const CASES: readonly Case[] = [
  container('image alone', {}),
  { name: 'imageName alone', kind: 'Container', spec: { imageName: 'web' } },
  {
    name: 'neither image nor imageName',
    kind: 'Container',
    spec: {},
    refused: ['spec.image: exactly one of image and imageName'],
  },
  container('both image and imageName', { imageName: 'web' }, 'spec.image: exactly one of image and imageName'),
  container('unknown field', { colour: 'red' }, 'spec.colour: unknown field'),
  container(
    'unknown field inside',
    { ports: [{ containerPort: 1, colour: 'red' }] },
    'spec.ports[0].colour: unknown field',
  ),
  container(
    'wrong type',
    { tty: 'yes' },
    'spec.tty: Invalid value: "string": spec.tty in body must be of type boolean',
  ),
  container('wrong enum', { restartPolicy: 'always' }, 'spec.restartPolicy: Unsupported value: "always"'),

  container(
    'port out of range',
    { ports: [{ containerPort: 80 }, { containerPort: 80, hostPort: 70000 }] },
    'spec.ports[1].hostPort: Invalid value: 70000: spec.ports[1].hostPort in body should be less than or equal to 65535',
  ),
  container('port 0', { ports: [{ containerPort: 0 }] }, 'spec.ports[0].containerPort: Invalid value: 0'),
  container(
    'host port twice',
    {
      ports: [
        { containerPort: 80, hostPort: 8080 },
        { containerPort: 81, hostPort: 8080 },
      ],
    },
    'spec.ports: a hostPort is used twice',
  ),
  container(
    'host port twice, one on all addresses',
    {
      ports: [
        { containerPort: 80, hostPort: 8080, hostIP: '127.0.0.1' },
        { containerPort: 81, hostPort: 8080, hostIP: '0.0.0.0' },
      ],
    },
    'spec.ports: a hostPort is used twice',
  ),
  container('host port on two addresses', {
    ports: [
      { containerPort: 80, hostPort: 8080, hostIP: '127.0.0.1' },
      { containerPort: 81, hostPort: 8080, hostIP: '10.0.0.1' },
    ],
  }),
  container('host port for two protocols', {
    ports: [
      { containerPort: 53, hostPort: 53 },
      { containerPort: 53, hostPort: 53, protocol: 'UDP' },
    ],
  }),
  container('free host ports', {
    ports: [
      { containerPort: 80, hostPort: 0 },
      { containerPort: 80, hostPort: 0 },
    ],
  }),
  container('one port published twice', {
    ports: [
      { containerPort: 80, hostPort: 8080 },
      { containerPort: 80, hostPort: 8081 },
    ],
  }),
  container(
    'container port twice',
    { ports: [{ containerPort: 80 }, { containerPort: 80 }] },
    'spec.ports: a containerPort is listed twice',
  ),
  container(
    'port name twice',
    {
      ports: [
        { name: 'a', containerPort: 80 },
        { name: 'a', containerPort: 81 },
      ],
    },
    'spec.ports: a port name is used twice',
  ),
  container(
    'hostIP without hostPort',
    { ports: [{ containerPort: 80, hostIP: '127.0.0.1' }] },
    'spec.ports[0].hostIP: needs hostPort',
  ),
  container(
    'hostIP is no address',
    { ports: [{ containerPort: 80, hostPort: 80, hostIP: '127.0.0.256' }] },
    'spec.ports[0].hostIP: must be an IP address',
  ),
  container('hostIP of IPv6', { ports: [{ containerPort: 80, hostPort: 80, hostIP: '::1' }] }),

  ...[
    'nginx',
    'nginx:1.27',
    'library/nginx',
    'localhost:5000/a/b_c.d--e:v1.2_3-x',
    '127.0.0.1:5050/web',
    '[::1]:5000/web:x',
    `web@sha256:${'a'.repeat(64)}`,
    `web:1@sha256:${'a'.repeat(64)}`,
  ].map((reference) => container(`reference ${reference}`, { image: reference })),
  ...[
    '',
    'Nginx',
    'a//b',
    '/a',
    'a/',
    'a:',
    'a:b:c',
    'a b',
    'a@sha256:123',
    `a@sha256:${'A'.repeat(64)}`,
    'http://a/b',
    'a_',
    '..',
    `a:${'x'.repeat(129)}`,
    'a\n',
  ].map((reference) =>
    container(
      `malformed reference ${JSON.stringify(reference)}`,
      { image: reference },
      'spec.image: malformed image reference',
    ),
  ),

  mount('anonymous', {}),
  mount('volume', { volume: 'site' }),
  mount('volume and hostPath', { volume: 'site', hostPath: '/srv' }, 'spec.mounts[0]: at most one of volume, hostPath'),
  mount('volume and tmpfs', { volume: 'site', tmpfs: {} }, 'spec.mounts[0]: at most one of volume, hostPath'),
  mount(
    'propagation of a volume',
    { volume: 'site', propagation: 'Bidirectional' },
    'spec.mounts[0].propagation: can only be other than Private',
  ),
  mount('propagation of a host path', { hostPath: '/srv', propagation: 'Bidirectional' }),
  mount('host path with ..', { hostPath: '/srv/../etc' }, "spec.mounts[0].hostPath: must not contain '..'"),
  mount('relative host path', { hostPath: 'srv' }, 'spec.mounts[0].hostPath: Invalid value'),
  mount(
    'subPath with ..',
    { volume: 'site', subPath: 'a/..' },
    "spec.mounts[0].subPath: must be a relative path without '..'",
  ),
  mount('absolute subPath', { volume: 'site', subPath: '/a' }, 'spec.mounts[0].subPath: Invalid value'),
  mount('volume name that cannot be', { volume: 'My_Site' }, 'spec.mounts[0].volume: Invalid value'),
  container('mount on the root', { mounts: [{ mountPath: '/' }] }, 'spec.mounts[0].mountPath: Invalid value'),
  container(
    'mount on a path with ..',
    { mounts: [{ mountPath: '/proc/../sys' }] },
    "spec.mounts[0].mountPath: must not contain '..'",
  ),
  container(
    'two mounts on one path',
    { mounts: [{ mountPath: '/a' }, { mountPath: '/a', tmpfs: {} }] },
    'spec.mounts[1]: Duplicate value',
  ),

  container(
    'hostNetwork with networks',
    { hostNetwork: true, networks: [{ name: 'a' }] },
    'spec.networks: must be absent or empty when hostNetwork',
  ),
  container('hostNetwork with no networks', { hostNetwork: true, networks: [] }),
  container(
    'shared network with networks',
    { shareNamespaces: { network: 'a' }, networks: [{ name: 'a' }] },
    'spec.shareNamespaces: network cannot be shared',
  ),
  container(
    'shared network with a published port',
    { shareNamespaces: { network: 'a' }, ports: [{ containerPort: 1, hostPort: 1 }] },
    'spec.ports: a port is published by',
  ),
  container(
    'shared pid with hostPID',
    { shareNamespaces: { pid: 'a' }, hostPID: true },
    'spec.hostPID: cannot be true',
  ),
  container(
    'shared ipc with hostIPC',
    { shareNamespaces: { ipc: 'a' }, hostIPC: true },
    'spec.hostIPC: cannot be true',
  ),
  container('one network twice', { networks: [{ name: 'a' }, { name: 'a' }] }, 'spec.networks[1]: Duplicate value'),
  container(
    'multicast MAC address',
    { networks: [{ name: 'a', macAddress: '03:42:0a:3c:00:0a' }] },
    'spec.networks[0].macAddress: must be a unicast',
  ),
  container(
    'malformed IPv4 address',
    { networks: [{ name: 'a', ipv4Address: '10.0.0' }] },
    'spec.networks[0].ipv4Address: must be an IPv4',
  ),

  container(
    'variable with value and source',
    { env: [{ name: 'A', value: 'b', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }] },
    'spec.env[0].valueFrom: value and valueFrom cannot both be set',
  ),
  container(
    'variable without source',
    { env: [{ name: 'A', valueFrom: {} }] },
    'spec.env[0].valueFrom: exactly one of configMapKeyRef',
  ),
  container('variable with = in its name', { env: [{ name: 'A=B', value: 'c' }] }, 'spec.env[0].name: Invalid value'),
  container('variable twice', { env: [{ name: 'A' }, { name: 'A' }] }, 'spec.env[1]: Duplicate value'),
  container(
    'unknown field reference',
    { env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'spec.image' } } }] },
    'spec.env[0].valueFrom.fieldRef.fieldPath: Invalid value',
  ),
  container('label by field reference', {
    env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app.kubernetes.io/name']" } } }],
  }),
  container(
    'envFrom with two sources',
    { envFrom: [{ configMapRef: { name: 'a' }, secretRef: { name: 'a' } }] },
    'spec.envFrom[0]: exactly one of configMapRef',
  ),

  ...['0', '1000', '1000:1000', 'nobody', 'nobody:nogroup', '2147483647', '2147480000', 'www-data:33'].map((user) =>
    container(`user ${user}`, { user }),
  ),
  ...['', '4294967296', '2147483648:0', '2147490000', '-1', '+0', '1000:', ':0', 'a b', 'root\n', 'a:b:c'].map((user) =>
    container(`user ${JSON.stringify(user)}`, { user }, 'spec.user: must be uid[:gid]'),
  ),

  container(
    'two health checks',
    { healthCheck: { exec: { command: ['true'] }, tcpSocket: { port: 1 } } },
    'spec.healthCheck: at most one of exec',
  ),
  container(
    'disabled health check with one',
    { healthCheck: { disabled: true, tcpSocket: { port: 1 } } },
    'spec.healthCheck.disabled: a disabled health check',
  ),
  container("times for the image's health check", { healthCheck: { intervalSeconds: 5 } }),
  container(
    'empty health command',
    { healthCheck: { exec: { command: [] } } },
    'spec.healthCheck.exec.command: Invalid value',
  ),

  ...['64Mi', '500m', 2, '1.5Gi', '1e9', '0'].map((memory) =>
    container(`quantity ${memory}`, { resources: { limits: { memory } } }),
  ),
  ...['64MB', '-1', 'a lot', '1.5.5', '', -5].map((memory) =>
    container(
      `malformed quantity ${memory}`,
      { resources: { limits: { memory } } },
      'spec.resources.limits.memory: Invalid value',
    ),
  ),

  container(
    'privileged without escalation',
    { securityContext: { privileged: true, allowPrivilegeEscalation: false } },
    'spec.securityContext.allowPrivilegeEscalation: cannot be false',
  ),
  container('capabilities', {
    securityContext: { capabilities: { add: ['NET_ADMIN', 'CAP_SYS_TIME'], drop: ['ALL'] } },
  }),
  container(
    'unknown capability',
    { securityContext: { capabilities: { add: ['FLY'] } } },
    'spec.securityContext.capabilities.add[0]: is not a capability',
  ),
  container(
    'local profile without path',
    { securityContext: { seccompProfile: { type: 'Localhost' } } },
    'spec.securityContext.seccompProfile.localhostProfile: localhostProfile must be set',
  ),

  container('sysctls', {
    sysctls: [
      { name: 'net.ipv4.ip_local_port_range', value: '1024 65000' },
      { name: 'kernel.shmmax', value: '1' },
    ],
  }),
  container(
    'sysctl of the host',
    { sysctls: [{ name: 'kernel.core_pattern', value: '1' }] },
    'spec.sysctls[0].name: Invalid value',
  ),
  ...['1+kernel.core_pattern=|/x', '1\n', '1\u0000', ' 1', ''].map((value) =>
    container(
      `sysctl value ${JSON.stringify(value)}`,
      { sysctls: [{ name: 'net.core.somaxconn', value }] },
      'spec.sysctls[0].value: Invalid value',
    ),
  ),
  container(
    'sysctl path',
    { sysctls: [{ name: 'net/../kernel/core_pattern', value: '1' }] },
    'spec.sysctls[0].name: Invalid value',
  ),
  container(
    'sysctl path with dots',
    { sysctls: [{ name: 'net.x/../../kernel/core_pattern', value: '1' }] },
    'spec.sysctls[0].name: is not a parameter name',
  ),
  container(
    'net sysctl on the host network',
    { hostNetwork: true, sysctls: [{ name: 'net.core.somaxconn', value: '1' }] },
    'spec.sysctls: net.* would change the node',
  ),
  container(
    'ipc sysctl in the host ipc',
    { hostIPC: true, sysctls: [{ name: 'kernel.shmmax', value: '1' }] },
    'spec.sysctls: kernel.* and fs.mqueue.*',
  ),

  container('ulimits', {
    ulimits: [
      { name: 'nofile', soft: 10, hard: 20 },
      { name: 'core', soft: -1, hard: -1 },
    ],
  }),
  container(
    'soft above hard',
    { ulimits: [{ name: 'nofile', soft: 30, hard: 20 }] },
    'spec.ulimits[0].soft: soft must not be above hard',
  ),
  container(
    'unlimited soft',
    { ulimits: [{ name: 'nofile', soft: -1, hard: 20 }] },
    'spec.ulimits[0].soft: soft must not be above hard',
  ),
  container('stdinOnce without stdin', { stdinOnce: true }, 'spec.stdinOnce: needs stdin'),
  container('maxRetries with Always', { maxRetries: 3 }, 'spec.maxRetries: needs restartPolicy OnFailure'),
  container('maxRetries with OnFailure', { restartPolicy: 'OnFailure', maxRetries: 3 }),
  ...['SIGTERM', 'HUP', '9', 'SIGRTMIN+3'].map((stopSignal) => container(`signal ${stopSignal}`, { stopSignal })),
  ...['sigterm', '65', '0', 'SIG TERM'].map((stopSignal) =>
    container(`signal ${stopSignal}`, { stopSignal }, 'spec.stopSignal: Invalid value'),
  ),
  ...['node.labels.zone == east', 'node.role!=manager', 'node.platform.os==linux'].map((constraint) =>
    container(`constraint ${constraint}`, { placement: { constraints: [constraint] } }),
  ),
  ...['zone == east', 'node.labels.zone = east', 'node.labels.zone =='].map((constraint) =>
    container(
      `constraint ${constraint}`,
      { placement: { constraints: [constraint] } },
      'spec.placement.constraints[0]: must be a condition',
    ),
  ),
  container('toleration without key', { tolerations: [{}] }, 'spec.tolerations[0].operator: must be Exists'),
  container('toleration of everything', { tolerations: [{ operator: 'Exists' }] }),

  change('Container', 'node set by the scheduler', image, { ...image, nodeName: 'a' }),
  change(
    'Container',
    'node',
    { ...image, nodeName: 'a' },
    { ...image, nodeName: 'b' },
    'spec.nodeName: cannot be changed once set',
  ),
  change(
    'Container',
    'node taken away',
    { ...image, nodeName: 'a' },
    image,
    'spec.nodeName: cannot be changed once set',
  ),
  change('Container', 'image', image, { image: 'nginx' }),

  of('Image', 'reference', { reference: 'nginx' }),
  of('Image', 'import', { import: { hostPath: '/x.tar' }, tags: ['web:1'] }),
  of('Image', 'nothing', {}, 'spec: exactly one of reference, build and import'),
  of(
    'Image',
    'two sources',
    { reference: 'nginx', import: { hostPath: '/x.tar' } },
    'spec: exactly one of reference, build and import',
  ),
  of('Image', 'import of nothing', { import: {} }, 'spec.import: exactly one of hostPath and archive'),
  of(
    'Image',
    'archive on a node',
    { import: { archive: `sha256:${'0'.repeat(64)}`, nodeName: 'a' } },
    'spec.import.nodeName: needs hostPath',
  ),
  of('Image', 'digest with a path', { import: { archive: 'sha256:../../x' } }, 'spec.import.archive: Invalid value'),
  of('Image', 'build', { build: { context: { inline: { Dockerfile: 'FROM scratch' } } } }),
  of(
    'Image',
    'build without context',
    { build: { context: {} } },
    'spec.build.context: exactly one of inline, hostPath, archive and git',
  ),
  of(
    'Image',
    'two Dockerfiles',
    { build: { context: { hostPath: '/x' }, dockerfile: 'D', dockerfileInline: 'FROM x' } },
    'spec.build.dockerfileInline: dockerfile and dockerfileInline',
  ),
  of(
    'Image',
    'Dockerfile outside',
    { build: { context: { hostPath: '/x' }, dockerfile: '../D' } },
    "spec.build.dockerfile: must be a relative path without '..'",
  ),
  of(
    'Image',
    'git option as URL',
    { build: { context: { git: '--upload-pack=x' } } },
    'spec.build.context.git: Invalid value',
  ),
  of('Image', 'malformed tag', { reference: 'a', tags: ['a', 'B'] }, 'spec.tags[1]: malformed image reference'),

  of('Volume', 'nothing', {}),
  of('Volume', 'tmpfs', { options: { type: 'tmpfs', o: 'size=1m' } }),
  of('Volume', 'bind', { options: { o: 'bind', device: '/srv' } }),
  of('Volume', 'options without type', { options: { device: '/srv' } }, 'spec.options: needs type'),
  of('Volume', 'nfs without device', { options: { type: 'nfs' } }, 'spec.options: needs device'),
  of(
    'Volume',
    'host path and options',
    { hostPath: '/srv', options: { type: 'tmpfs' } },
    'spec.hostPath: hostPath and options',
  ),
  of('Volume', 'unknown driver', { driver: 'rexray' }, 'spec.driver: Unsupported value: "rexray"'),
  change('Volume', 'host path', {}, { hostPath: '/srv' }, 'spec.hostPath: cannot be changed'),
  change('Volume', 'capacity', { capacity: '1Gi' }, { capacity: '2Gi' }),
  change('Volume', 'node', { nodeName: 'a' }, { nodeName: 'b' }, 'spec.nodeName: cannot be changed once set'),
  change(
    'Volume',
    'options',
    { options: { type: 'tmpfs' } },
    { options: { type: 'tmpfs', o: 'size=1m' } },
    'spec.options: cannot be changed',
  ),

  of('Network', 'nothing', {}),
  of('Network', 'subnets of both families', { ipv6: true, subnets: [{ cidr: '10.1.0.0/16' }, { cidr: 'fd00::/64' }] }),
  of('Network', 'mtu too small for IPv6', { ipv6: true, mtu: 1200 }, 'spec.mtu: must be at least 1280 with ipv6'),
  of('Network', 'small mtu', { mtu: 1200 }),
  of(
    'Network',
    'two IPv6 subnets',
    { ipv6: true, subnets: [{ cidr: 'fd00:1::/64' }, { cidr: 'fd00:2::/64' }] },
    'spec.subnets: a network has one IPv6 cidr',
  ),
  container('ipv6Address', { networks: [{ name: 'a', ipv6Address: 'fd00::5' }] }),
  container(
    'ipv6Address of IPv4',
    { networks: [{ name: 'a', ipv6Address: '10.0.0.5' }] },
    'spec.networks[0].ipv6Address: must be an IPv6 address',
  ),
  of(
    'Network',
    'IPv6 subnet without ipv6',
    { subnets: [{ cidr: 'fd00::/64' }] },
    'spec.subnets: an IPv6 cidr needs ipv6',
  ),
  of('Network', 'subnet without length', { subnets: [{ cidr: '10.1.0.0' }] }, 'spec.subnets[0].cidr: must be a range'),
  of('Network', 'subnet too long', { subnets: [{ cidr: '10.1.0.0/33' }] }, 'spec.subnets[0].cidr: must be a range'),
  of(
    'Network',
    'subnet twice',
    { subnets: [{ cidr: '10.1.0.0/16' }, { cidr: '10.1.0.0/16' }] },
    'spec.subnets: a cidr is listed twice',
  ),
  of('Network', 'encrypted bridge', { encrypted: true }, 'spec.encrypted: needs driver overlay'),
  of('Network', 'tiny packets', { mtu: 100 }, 'spec.mtu: Invalid value: 100'),
  change('Network', 'driver', {}, { driver: 'overlay' }, 'spec.driver: cannot be changed'),
  change(
    'Network',
    'subnet',
    { subnets: [{ cidr: '10.1.0.0/16' }] },
    { subnets: [{ cidr: '10.2.0.0/16' }] },
    'spec.subnets: cannot be changed once set',
  ),
  change('Network', 'internal', {}, { internal: true }),

  service('template alone', {}),
  { name: 'service: no template', kind: 'Service', spec: {}, refused: ['spec.template: Required value'] },
  service('negative replicas', { replicas: -1 }, 'spec.replicas: Invalid value: -1'),
  service('as many replicas as there can be', { replicas: 50_000 }),
  service(
    'too many replicas',
    { replicas: 100_000 },
    'spec.replicas: Invalid value: 100000: spec.replicas in body should be less than or equal to 50000',
  ),
  service('Global', { mode: 'Global' }),
  service('Global with replicas', { mode: 'Global', replicas: 3 }, 'spec.replicas: must be left out with mode Global'),
  service('volume for each slot', {
    volumeTemplates: [{ name: 'data' }],
    template: { spec: { ...image, mounts: [{ mountPath: '/data', volume: 'data' }] } },
  }),
  service(
    'volume for each slot that is not mounted',
    { volumeTemplates: [{ name: 'data' }] },
    'spec.volumeTemplates: each must be the volume of a mount of the template',
  ),
  service(
    'volume for each slot of a Job',
    {
      mode: 'Job',
      volumeTemplates: [{ name: 'data' }],
      template: { spec: { ...image, mounts: [{ mountPath: '/data', volume: 'data' }] } },
    },
    'spec.volumeTemplates: needs mode Replicated or Global',
  ),
  change(
    'Service',
    'volume for each slot',
    { template: { spec: { ...image, mounts: [{ mountPath: '/data', volume: 'data' }] } } },
    {
      volumeTemplates: [{ name: 'data' }],
      template: { spec: { ...image, mounts: [{ mountPath: '/data', volume: 'data' }] } },
    },
    'spec.volumeTemplates: cannot be changed',
  ),
  service(
    'template without image',
    { template: { spec: {} } },
    'spec.template.spec.image: exactly one of image and imageName',
  ),
  service(
    'published port twice',
    {
      ports: [
        { port: 80, publishedPort: 8080 },
        { port: 81, publishedPort: 8080 },
      ],
    },
    'spec.ports: a publishedPort is used twice',
  ),
  service('port twice', { ports: [{ port: 80 }, { port: 80 }] }, 'spec.ports: a port is listed twice'),
  service('one port published twice', {
    ports: [
      { port: 80, publishedPort: 8080 },
      { port: 80, publishedPort: 8081 },
    ],
  }),
  service('job numbers without mode', { job: {} }, 'spec.job: needs mode Job'),
  service('job', { mode: 'Job', job: { completions: 3 }, schedule: { cron: '@daily' } }),
  service('schedule without mode', { schedule: { cron: '0 * * * *' } }, 'spec.schedule: needs mode Job'),
  service('malformed schedule', { mode: 'Job', schedule: { cron: 'tomorrow' } }, 'spec.schedule.cron: must be'),
  ...[
    '60 * * * *',
    '* 24 * * *',
    '* * 0 * *',
    '* * * 13 *',
    '* * * * 8',
    '* * * *',
    '* * * * * *',
    '5/2 * * * *',
    '@often',
    '* * * FOO *',
  ].map((cron) =>
    service(`schedule ${cron}`, { mode: 'Job', schedule: { cron } }, 'spec.schedule.cron: must be minute (0-59) hour'),
  ),
  ...['*/15 0-6,22 1,15 jan-Mar MON-fri', '0 0 * * 7', '59 23 31 12 0', '10-50/20  * * * *', '@hourly'].map((cron) =>
    service(`schedule ${cron}`, { mode: 'Job', schedule: { cron } }),
  ),
  service(
    'time zone that is none',
    { mode: 'Job', schedule: { cron: '@daily', timeZone: '+02:00' } },
    'spec.schedule.timeZone: must be the name of a time zone',
  ),
  service('time zone', { mode: 'Job', schedule: { cron: '@daily', timeZone: 'America/Argentina/Buenos_Aires' } }),
  service(
    'autoscale the wrong way round',
    { autoscale: { minReplicas: 5, maxReplicas: 2 } },
    'spec.autoscale.minReplicas: must not be above maxReplicas',
  ),
  service(
    'autoscale to nothing',
    { autoscale: { minReplicas: 0, maxReplicas: 2 } },
    'spec.autoscale.minReplicas: Invalid value: 0: spec.autoscale.minReplicas in body should be greater than or equal to 1',
  ),
  service(
    'autoscale at no use of CPU',
    { autoscale: { maxReplicas: 2, cpuPercent: 0 } },
    'spec.autoscale.cpuPercent: Invalid value: 0: spec.autoscale.cpuPercent in body should be greater than or equal to 1',
  ),
  service(
    'autoscale beyond what replicas may be',
    { autoscale: { maxReplicas: 50_001 } },
    'spec.autoscale.maxReplicas: Invalid value: 50001: spec.autoscale.maxReplicas in body should be less than or equal to 50000',
  ),
  service('autoscale without bound', { autoscale: { cpuPercent: 50 } }, 'spec.autoscale.maxReplicas: Required value'),
  service(
    'autoscale of a global service',
    { mode: 'Global', autoscale: { maxReplicas: 2 } },
    'spec.autoscale: needs mode Replicated',
  ),
  change(
    'Service',
    'mode',
    { template: { spec: image } },
    { template: { spec: image }, mode: 'Global' },
    'spec.mode: cannot be changed',
  ),
  change(
    'Service',
    'node of the template',
    { template: { spec: { ...image, nodeName: 'a' } } },
    { template: { spec: { ...image, nodeName: 'b' } } },
  ),
];

for (const { name, kind, spec, old, refused = [] } of CASES) {
  test(`${name} is ${refused.length > 0 ? 'refused' : 'accepted'}`, () => {
    const complaints = check(kind, spec, old);
    assert.equal(complaints.length, refused.length, complaints.join('\n'));
    for (const part of refused) {
      assert.ok(
        complaints.some((line) => line.includes(part)),
        `no complaint has ${JSON.stringify(part)}: ${complaints.join('\n')}`,
      );
    }
  });
}

test('zod, the server and the reference parser agree on what is malformed', () => {
  const subject = /^(malformed )?(reference|user|capabilit|constraint|signal)|MAC address|IPv4 address|hostIP (is|of)/;
  const cases = CASES.filter(({ name, kind, old }) => kind === 'Container' && old === undefined && subject.test(name));
  for (const { name, spec, refused = [] } of cases) {
    assert.equal(ContainerSpec.safeParse(spec).success, refused.length === 0, name);
    const { image: reference } = spec as { image: string };
    if (refused.length === 0) assert.ok(parseReference(reference).repository, name);
  }
  assert.ok(cases.length > 40);
});
