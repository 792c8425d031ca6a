// The flags that say which instance a command means and where it listens.
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';
import { isNodeName } from '../crds/join.ts';
import { parseHostPort } from '../lib/host-port.ts';
import { parseNodeIps } from '../lib/node-address.ts';
import { DEFAULT_HOME, DEFAULT_RUN, describeInstance, type Instance } from '../lib/instance.ts';

const passes =
  (parse: (text: string) => unknown) =>
  (text: string): boolean => {
    try {
      parse(text);
      return true;
    } catch {
      return false;
    }
  };

const listen = z.string().refine(passes(parseHostPort), 'want host:port, e.g. 127.0.0.1:6443');

const folder = z
  .string()
  .min(1, 'want a folder')
  .transform((path) => resolve(path));

export const instanceOptions = z.object({
  home: folder.default(DEFAULT_HOME),
  run: folder.default(DEFAULT_RUN),
});

/** Of every command that keeps processes running. */
const machineOptions = instanceOptions.extend({
  metricsListen: listen.default('127.0.0.1:0'),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
  detach: z.boolean().default(false),
  timeoutSeconds: z.coerce.number().int().min(1).default(60),
});

/** `--registry-listen none`. */
export const NO_REGISTRY = 'none';

const controlPlaneOptions = {
  // Clients are told the address before anything listens there.
  listen: listen.refine((text) => !text.endsWith(':0'), 'want a port: not 0').default('127.0.0.1:6443'),
  advertise: z
    .string()
    .regex(/^([A-Za-z0-9.-]+|[0-9a-fA-F:]*:[0-9a-fA-F:]*)$/, 'want an address or host name, without a port')
    .optional(),
  // Whoever pulls names the port.
  registryListen: z
    .union([z.literal(NO_REGISTRY), listen.refine((text) => !text.endsWith(':0'), 'want a port: not 0')])
    .default('127.0.0.1:5050'),
  etcdServers: z.string().optional(),
  etcdCa: folder.optional(),
  etcdCert: folder.optional(),
  etcdKey: folder.optional(),
  snapshotIntervalSeconds: z.coerce
    .number()
    .int()
    .min(0)
    .default(6 * 3600),
  snapshotKeep: z.coerce.number().int().min(1).default(8),
  caCert: folder.optional(),
  caKey: folder.optional(),
  nodeCertificateSeconds: z.coerce.number().int().min(10, 'want at least 10').optional(),
};

const nodeName = z.string().refine(isNodeName, 'want a lower-case host name, not an address');

const workerOptions = {
  nodeIp: z
    .string()
    .refine(
      passes(parseNodeIps),
      'want an address by which other machines reach this one, or an IPv4 and an IPv6 address with a comma between them',
    )
    .optional(),
  ociRuntime: z.string().default('auto'),
  criSocket: folder.optional(),
  registriesConfig: z.string().optional(),
};

const ownName = (): string => hostname().toLowerCase();

export const upOptions = machineOptions.extend({
  ...controlPlaneOptions,
  ...workerOptions,
  nodeName: nodeName.default(ownName),
});
export type UpOptions = Readonly<z.infer<typeof upOptions>>;

/** `--server` and `--join`: one or more URLs. */
export const serverUrls = z
  .string()
  .transform((text) => text.split(',').map((each) => each.trim().replace(/\/+$/, '')))
  .refine(
    (urls) => urls.every((url) => /^https:\/\/(\[[0-9a-fA-F:]+\]|[^/:\s]+)(:\d{1,5})?$/.test(url)),
    'want https://host:port, several with commas between them',
  );

const joinOptions = {
  token: z.string().optional(),
  tokenFile: z.string().optional(),
  caHash: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/, 'want sha256: and 64 hex digits, as the server prints it')
    .optional(),
};

export const serverOptions = machineOptions.extend({
  ...controlPlaneOptions,
  // Others are to reach it.
  listen: controlPlaneOptions.listen.unwrap().default('0.0.0.0:6443'),
  /** Set by the process in front, which prints the join command itself. */
  isBehind: z.boolean().default(false),
  join: serverUrls.optional(),
  ...joinOptions,
});
/** Of the words after `server`. */
export const serverActionOptions = instanceOptions.extend({ kubeconfig: z.string().optional() });
export type ServerOptions = Readonly<z.infer<typeof serverOptions>>;

export const nodeOptions = machineOptions.extend({
  ...workerOptions,
  server: serverUrls.optional(),
  ...joinOptions,
  // The name of the machine, unless it has joined under another one.
  nodeName: nodeName.optional(),
});
export type NodeOptions = Readonly<z.infer<typeof nodeOptions>>;

/** The instance that `--home` and `--run` name. */
export const instanceOf = (options: { home: string; run: string }): Instance =>
  describeInstance(options.home, options.run);

export const instanceFlags = [
  { flag: '--home DIR', text: `state folder (default ${DEFAULT_HOME})` },
  { flag: '--run DIR', text: `run folder: sockets and bundles (default ${DEFAULT_RUN})` },
] as const;

export const machineFlags = [
  { flag: '--detach', text: 'go to the background once everything is ready' },
  { flag: '--metrics-listen HOST:PORT', text: 'first metrics port of the node processes (default: any free port)' },
  { flag: '--log-level LEVEL', text: 'trace, debug, info (default), warn or error' },
  { flag: '--timeout-seconds N', text: 'with --detach: how long to wait for readiness (default 60)' },
] as const;

export const joinFlags = [
  { flag: '--token TOKEN', text: 'join token; - reads it from standard input' },
  { flag: '--token-file FILE', text: 'the same from a file' },
  { flag: '--ca-hash sha256:HASH', text: "hash of the public key of the server's authority" },
] as const;

export const controlPlaneFlags = [
  {
    flag: '--advertise HOST',
    text: 'how other machines reach the API server (default: the first address of this one)',
  },
  { flag: '--etcd-servers URLS', text: 'use an etcd cluster of your own instead of the embedded one' },
  { flag: '--etcd-ca, --etcd-cert, --etcd-key FILE', text: 'its TLS: authority, and what to show to it' },
  { flag: '--snapshot-interval-seconds N', text: 'how often the embedded etcd is copied (default 6 h; 0 = never)' },
  { flag: '--snapshot-keep N', text: 'how many of these copies are kept (default 8)' },
  {
    flag: '--ca-cert FILE, --ca-key FILE',
    text: 'the authority of another server on the same etcd: its pki/ca.crt and ca.key',
  },
  {
    flag: '--registry-listen HOST:PORT',
    text: 'address of the built-in registry (default 127.0.0.1:5050; none = no registry)',
  },
  {
    flag: '--node-certificate-seconds N',
    text: 'how long the certificate of a node that joined lasts (default 90 days)',
  },
] as const;

export const workerFlags = [
  { flag: '--node-name NAME', text: "this node's name (default: the host name)" },
  { flag: '--node-ip ADDRESSES', text: 'how other machines reach this one: IPv4, IPv6, or both with a comma' },
  { flag: '--oci-runtime NAME', text: 'auto (default: crun where it works, else runc), runc, crun or a path' },
  { flag: '--cri-socket FILE', text: "use another CRI runtime (containerd, CRI-O) instead of windlass' own" },
  { flag: '--registries-config FILE', text: 'mirrors and credentials per registry host' },
] as const;
