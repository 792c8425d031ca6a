// The processes that make up one machine, as data: what to run, with which arguments, in need of which other.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatHostPort, isLoopbackHost, parseHostPort } from '../lib/host-port.ts';
import { paths, type Instance } from '../lib/instance.ts';
import type { EtcdMember } from './etcd-member.ts';
import { NO_REGISTRY, type ServerOptions, type UpOptions } from './options.ts';

export type ComponentName = 'etcd' | 'apiserver' | 'registry' | 'runtime-shim' | 'controllers' | 'node-agent';

export interface Component {
  readonly name: ComponentName;
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /**
   * What it works through. All are started at once, as each waits for what it needs by itself; they are stopped in this
   * order, so that each can still finish what it is doing.
   */
  readonly needs: readonly ComponentName[];
}

/**
 * How Node runs the shim: its work is system calls and small objects, so a small young generation, collected often,
 * keeps it at a fraction of the size that it would grow to.
 */
export const shimFlags: readonly string[] = ['--max-semi-space-size=1'];

/**
 * What the shim's environment holds beside its own: malloc keeps an area per thread otherwise, each with pages that one
 * short piece of work of that thread has used.
 */
export const shimEnv: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: '1' };

const entry = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** The components of `up`: those of a server, and of a node beside it. */
export function planComponents(instance: Instance, options: UpOptions, etcd: EtcdMember | undefined): Component[] {
  return [...planServer(instance, options, etcd), ...planNode(instance, options, { isBesideServer: true })];
}

/** The components of `server`. `etcd` is absent when outside servers are given. */
export function planServer(
  instance: Instance,
  options: Omit<ServerOptions, 'home' | 'run' | 'isBehind'>,
  etcd: EtcdMember | undefined,
): Component[] {
  const pki = (file: string): string => join(paths.pki(instance), file);
  const embedded = etcd !== undefined;
  const etcdServers = embedded ? `https://127.0.0.1:${etcd.ports.client}` : (options.etcdServers ?? '');
  const etcdClient = embedded
    ? [
        ...[
          '--etcd-ca',
          pki('etcd-ca.crt'),
          '--etcd-cert',
          pki('etcd-client.crt'),
          '--etcd-key',
          pki('etcd-client.key'),
        ],
        ...['--etcd-metrics', `127.0.0.1:${etcd.ports.metrics}`, '--etcd-peer-url', etcd.peerUrl],
        ...['--snapshot-folder', paths.etcdSnapshots(instance), '--snapshot-keep', String(options.snapshotKeep)],
        ...['--snapshot-interval-seconds', String(options.snapshotIntervalSeconds)],
      ]
    : (['etcdCa', 'etcdCert', 'etcdKey'] as const).flatMap((name) => {
        const file = options[name];
        return file === undefined ? [] : [`--${name.replace(/[A-Z]/, (letter) => `-${letter.toLowerCase()}`)}`, file];
      });
  const seconds = options.nodeCertificateSeconds;
  return [
    ...(embedded ? [{ name: 'etcd' as const, file: 'etcd', args: etcdArguments(instance, etcd, pki), needs: [] }] : []),
    {
      name: 'apiserver',
      ...program(instance, options, 'apiserver/main.ts', [
        ...['--listen', options.listen, '--etcd-servers', etcdServers, ...etcdClient],
        ...['--token-auth-file', pki('tokens.csv')],
      ]),
      needs: embedded ? ['etcd'] : [],
    },
    {
      name: 'controllers',
      ...program(instance, options, 'controllers/main.ts', [
        ...metricsFlag(options, 1),
        ...['--kubeconfig', pki('controllers.kubeconfig'), '--ca-cert', pki('ca.crt'), '--ca-key', pki('ca.key')],
        ...(seconds === undefined ? [] : ['--node-certificate-seconds', String(seconds)]),
      ]),
      needs: ['apiserver'],
    },
    ...(options.registryListen === NO_REGISTRY ? [] : [planRegistry(instance, options, pki)]),
  ];
}

/** The registry of a control plane: everybody may pull from it, whom the API server lets may push. */
function planRegistry(
  instance: Instance,
  options: Pick<ServerOptions, 'registryListen' | 'metricsListen' | 'logLevel'>,
  pki: (file: string) => string,
): Component {
  const tls = isLoopbackHost(parseHostPort(options.registryListen).host)
    ? []
    : ['--tls-cert', pki('registry.crt'), '--tls-key', pki('registry.key'), '--client-ca', pki('ca.crt')];
  const args = [
    ...['--root', paths.registry(instance), '--listen', options.registryListen, ...tls],
    ...['--access', 'cluster', '--kubeconfig', pki('registry.kubeconfig'), '--anonymous-pull'],
    ...[...metricsFlag(options, 3), '--log-level', options.logLevel],
  ];
  return { name: 'registry', file: process.execPath, args: [entry('registry/main.ts'), ...args], needs: ['apiserver'] };
}

/** The components of a node, alone or beside its server, which is to outlive it then. */
export function planNode(
  instance: Instance,
  options: Pick<
    UpOptions,
    'metricsListen' | 'logLevel' | 'nodeName' | 'nodeIp' | 'ociRuntime' | 'criSocket' | 'registriesConfig'
  >,
  { isBesideServer, otherServers = [] }: { isBesideServer: boolean; otherServers?: readonly string[] },
): Component[] {
  const shim = program(instance, options, 'runtime-shim/main.ts', [
    ...metricsFlag(options, 0),
    ...['--oci-runtime', options.ociRuntime],
    ...(options.registriesConfig ? ['--registries-config', options.registriesConfig] : []),
  ]);
  const runtimeShim: Component = {
    ...{ name: 'runtime-shim', file: shim.file, args: [...shimFlags, ...shim.args], env: shimEnv },
    needs: [],
  };
  const hasShim = options.criSocket === undefined;
  return [
    ...(hasShim ? [runtimeShim] : []),
    {
      name: 'node-agent',
      ...program(instance, options, 'controllers/node-agent/main.ts', [
        ...metricsFlag(options, 2),
        ...['--kubeconfig', join(paths.pki(instance), 'node.kubeconfig'), '--node-name', options.nodeName],
        ...(otherServers.length > 0 ? ['--other-servers', otherServers.join(',')] : []),
        ...(options.nodeIp === undefined ? [] : ['--node-ip', options.nodeIp]),
        ...['--cri-socket', options.criSocket ?? paths.criSocket(instance)],
      ]),
      needs: [...(isBesideServer ? ['apiserver' as const] : []), ...(hasShim ? ['runtime-shim' as const] : [])],
    },
  ];
}

function program(
  instance: Instance,
  { logLevel }: { logLevel: string },
  path: string,
  args: readonly string[],
): Pick<Component, 'file' | 'args'> {
  const common = ['--home', instance.home, '--run', instance.run, '--log-level', logLevel];
  return { file: process.execPath, args: [entry(path), ...common, ...args] };
}

const metricsFlag = ({ metricsListen }: { metricsListen: string }, index: number): string[] => [
  ...['--metrics-listen', metricsAddress(metricsListen, index)],
];

// Port 0 leaves the choice to each process; any other is the first of four in a row.
function metricsAddress(listen: string, index: number): string {
  const { host, port } = parseHostPort(listen);
  return formatHostPort({ host, port: port === 0 ? 0 : port + index });
}

/** What the embedded etcd is run with. */
export function etcdArguments(
  instance: Instance,
  { ports, name, peerUrl, peerListen, initialCluster }: EtcdMember,
  pki: (file: string) => string,
  dataFolder = paths.etcdData(instance),
): string[] {
  const client = `https://127.0.0.1:${ports.client}`;
  return [
    ...['--name', name, '--data-dir', dataFolder, '--logger', 'zap', '--log-level', 'warn'],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...[
      '--cert-file',
      pki('etcd.crt'),
      '--key-file',
      pki('etcd.key'),
      '--trusted-ca-file',
      pki('etcd-ca.crt'),
      '--client-cert-auth',
    ],
    // All but the first are for the first start alone.
    ...['--listen-peer-urls', `https://${peerListen}`, '--initial-advertise-peer-urls', peerUrl],
    ...['--initial-cluster', initialCluster ?? `${name}=${peerUrl}`],
    ...['--initial-cluster-state', initialCluster === undefined ? 'new' : 'existing'],
    ...[
      '--peer-cert-file',
      pki('etcd-peer.crt'),
      '--peer-key-file',
      pki('etcd-peer.key'),
      '--peer-trusted-ca-file',
      pki('etcd-ca.crt'),
      '--peer-client-cert-auth',
    ],
    ...['--listen-metrics-urls', `http://127.0.0.1:${ports.metrics}`],
    // Old revisions are compacted by the API server; the quota leaves room for a million small objects.
    ...['--quota-backend-bytes', String(8 * 2 ** 30), '--snapshot-count', '20000'],
  ];
}
