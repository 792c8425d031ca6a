// What docs/api/<kind>.yaml shows in the fields that have no default: one object per kind that the server takes as it
// is (`shown`), and the fields that cannot stand beside those (`instead`).
import type { ContainerSpecInput } from './container.ts';
import type { ImageSpecInput } from './image.ts';
import type { NetworkSpecInput } from './network.ts';
import type { ServiceSpecInput } from './service.ts';
import type { VolumeSpecInput } from './volume.ts';

export interface Example<Spec> {
  readonly name: string;
  readonly shown: Spec;
  readonly instead: object;
}

const container: Example<ContainerSpecInput> = {
  name: 'web',
  shown: {
    image: 'nginx:1.27',
    imagePullSecrets: [{ name: 'registry-login' }],
    command: ['/docker-entrypoint.sh'],
    args: ['nginx', '-g', 'daemon off;'],
    workingDir: '/srv',
    user: '101:101',
    groups: ['1000'],
    env: [
      { name: 'MODE', value: 'production' },
      { name: 'COLOUR', valueFrom: { configMapKeyRef: { name: 'web-config', key: 'colour' } } },
      { name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'web-login', key: 'password' } } },
      { name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    ],
    envFrom: [{ prefix: 'WEB_', configMapRef: { name: 'web-config' } }],
    hostname: 'web',
    domainname: 'example.org',
    ports: [{ name: 'http', containerPort: 80, hostPort: 8080, hostIP: '127.0.0.1' }],
    networks: [
      {
        name: 'front',
        aliases: ['www'],
        ipv4Address: '10.60.0.10',
        ipv6Address: 'fd00:60::a',
        macAddress: '02:42:0a:3c:00:0a',
      },
    ],
    shareNamespaces: { pid: 'debugger', ipc: 'debugger' },
    dns: { nameservers: ['9.9.9.9'], searches: ['example.org'], options: ['ndots:2'] },
    hostAliases: [{ ip: '10.0.0.5', hostnames: ['db', 'db.example.org'] }],
    mounts: [
      { mountPath: '/data', volume: 'site', subPath: 'html' },
      { mountPath: '/mnt/shared', hostPath: '/srv/shared', propagation: 'HostToContainer' },
      { mountPath: '/run', tmpfs: { sizeLimit: '16Mi', mode: 0o755 } },
      {
        mountPath: '/etc/web',
        configMap: { name: 'web-config', items: [{ key: 'web.conf', path: 'web.conf', mode: 0o444 }] },
      },
      { mountPath: '/etc/tls', secret: { name: 'web-tls' }, readOnly: true },
      { mountPath: '/opt/tools', image: { reference: 'busybox:1' } },
      { mountPath: '/var/cache' },
    ],
    volumesFrom: [{ container: 'importer' }],
    restartedAt: '2026-01-31T12:00:00Z',
    restartPolicy: 'OnFailure',
    maxRetries: 5,
    ttlSecondsAfterFinished: 3600,
    stopSignal: 'SIGQUIT',
    healthCheck: { httpGet: { path: '/healthz', port: 80 } },
    dependsOn: [{ kind: 'Service', name: 'db', condition: 'Healthy' }],
    resources: {
      limits: { cpu: '1', memory: '256Mi', 'ephemeral-storage': '2Gi', inodes: 100_000, pids: 200 },
      requests: { cpu: '100m', memory: '64Mi' },
    },
    securityContext: {
      capabilities: { add: ['NET_ADMIN'], drop: ['MKNOD'] },
      seccompProfile: { type: 'Localhost', localhostProfile: '/etc/windlass/seccomp/web.json' },
    },
    sysctls: [{ name: 'net.core.somaxconn', value: '1024' }],
    ulimits: [{ name: 'nofile', soft: 1024, hard: 4096 }],
    devices: [{ hostPath: '/dev/fuse', containerPath: '/dev/fuse' }],
    nodeSelector: { disk: 'ssd' },
    tolerations: [{ key: 'dedicated', value: 'web', effect: 'NoExecute', tolerationSeconds: 300 }],
    placement: { constraints: ['node.labels.zone == east', 'node.role != manager'], spread: ['zone'], maxPerNode: 2 },
    nodeName: 'node-1',
  },
  instead: {
    imageName: 'web',
    envFrom: [{ secretRef: { name: 'web-login' } }],
    env: [
      {
        valueFrom: {
          configMapKeyRef: { name: 'web-config', key: 'colour' },
          secretKeyRef: { name: 'web-login', key: 'password' },
          fieldRef: { fieldPath: 'metadata.name' },
        },
      },
    ],
    shareNamespaces: { network: 'debugger' },
    mounts: [
      {
        hostPath: '/srv/shared',
        tmpfs: { sizeLimit: '16Mi' },
        configMap: { name: 'web-config', items: [{ key: 'web.conf', path: 'web.conf', mode: 0o444 }] },
        secret: { name: 'web-tls', items: [{ key: 'tls.crt', path: 'tls.crt', mode: 0o444 }] },
        image: { reference: 'busybox:1' },
      },
    ],
    healthCheck: { exec: { command: ['curl', '-f', 'http://localhost/'] }, tcpSocket: { port: 80 } },
  },
};

const image: Example<ImageSpecInput> = {
  name: 'web',
  shown: {
    build: {
      context: { inline: { Dockerfile: 'FROM busybox\nCOPY index.html /www/\n', 'index.html': 'hello\n' } },
      target: 'final',
      args: { VERSION: '1.2' },
      labels: { vendor: 'example' },
      secrets: [{ id: 'npm', secretName: 'npm-login', key: 'token' }],
      cacheFrom: ['registry.example.org/web:cache'],
      cacheTo: 'registry.example.org/web:cache',
      rebuiltAt: '2026-01-31T12:00:00Z',
      platform: 'linux/amd64',
    },
    imagePullSecrets: [{ name: 'registry-login' }],
    tags: ['registry.example.org/web:1.2'],
    push: [{ reference: 'registry.example.org/web:1.2', secretName: 'registry-login' }],
    prepull: { nodeSelector: { disk: 'ssd' } },
  },
  instead: {
    reference: 'nginx:1.27',
    refreshSeconds: 3600,
    build: {
      context: {
        hostPath: '/srv/web',
        nodeName: 'node-1',
        archive: `sha256:${'0'.repeat(64)}`,
        git: 'https://example.org/web.git#main:docker',
      },
      dockerfileInline: 'FROM busybox\n',
    },
    import: {
      hostPath: '/srv/web.tar',
      nodeName: 'node-1',
      archive: `sha256:${'0'.repeat(64)}`,
      config: {
        command: ['/bin/web'],
        args: ['--verbose'],
        env: [{ name: 'PATH', value: '/bin' }],
        workingDir: '/srv',
        user: '101',
        exposedPorts: ['80/tcp'],
        volumes: ['/data'],
        labels: { vendor: 'example' },
        stopSignal: 'SIGTERM',
      },
    },
  },
};

const volume: Example<VolumeSpecInput> = {
  name: 'site',
  shown: {
    options: { type: 'nfs', device: ':/export/site', o: 'addr=10.0.0.9,rw' },
    capacity: '1Gi',
    nodeName: 'node-1',
  },
  instead: { hostPath: '/srv/site' },
};

const network: Example<NetworkSpecInput> = {
  name: 'front',
  shown: {
    subnets: [{ cidr: '10.60.0.0/16', gateway: '10.60.0.1', ipRange: '10.60.128.0/17' }],
    mtu: 1450,
    labels: { tier: 'front' },
  },
  instead: {},
};

const service: Example<ServiceSpecInput> = {
  name: 'web',
  shown: {
    replicas: 3,
    template: {
      metadata: { labels: { app: 'web' }, annotations: { owner: 'team-web' } },
      spec: { image: 'nginx:1.27', mounts: [{ mountPath: '/data', volume: 'data' }] },
    },
    ports: [{ name: 'http', port: 80, targetPort: 8080, publishedPort: 8080 }],
    volumeTemplates: [{ name: 'data', spec: {} }],
    rollbackTo: 3,
    autoscale: { minReplicas: 2, maxReplicas: 10 },
  },
  instead: {
    job: {},
    schedule: { cron: '30 2 * * *', startingDeadlineSeconds: 3600 },
  },
};

/** By the singular name of the kind. */
export const EXAMPLES: Readonly<Record<string, Example<object>>> = { container, image, volume, network, service };
