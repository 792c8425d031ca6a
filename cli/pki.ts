// The certificates and kubeconfigs of one instance below `<home>/pki`: made at first start, renewed before they run out.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { NODE_GROUP, NODE_USER, REGISTRY_USER } from '../crds/join.ts';
import { keyHashOf } from '../lib/certificate-request.ts';
import { WindlassError } from '../lib/errors.ts';
import { formatHostPort, parseHostPort } from '../lib/host-port.ts';
import { paths, type Instance } from '../lib/instance.ts';
import { canonicalAddress, ownAddresses } from '../lib/node-address.ts';
import {
  certificateHosts,
  certificateLife,
  createAuthority,
  issueCertificate,
  type CertificateRequest,
  type KeyPair,
} from '../lib/pki.ts';
import { replaceFile } from '../lib/replace-file.ts';
import { renderKubeconfig } from './kubeconfig.ts';

const AUTHORITY_DAYS = 3650;
const LEAF_DAYS = 365;
const RENEW_BEFORE_MS = 60 * 24 * 60 * 60 * 1000;

export interface PkiOptions {
  /** `host:port` of the API server. */
  readonly listen: string;
  /** How other machines reach the API server, beside the address it listens at. */
  readonly advertise?: string;
  /** The node beside the server: its name, and the addresses its agent may be called by, beside loopback. */
  readonly node?: { readonly name: string; readonly ips: readonly string[] };
  /** The authority of the cluster, when another server has made it; else one is made here. */
  readonly authority?: KeyPair;
  /** URLs of the other servers, for the administrator's kubeconfig. */
  readonly otherServers?: readonly string[];
  /** How other servers reach the etcd of this one, beside its own addresses. */
  readonly peerHost?: string;
  readonly now: number;
}

/** Makes what is missing, too old, or made for other addresses; returns the path of the admin kubeconfig. */
export async function ensurePki(instance: Instance, options: PkiOptions): Promise<string> {
  const folder = paths.pki(instance);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(instance.home, 0o700);
  const { host, port } = parseHostPort(options.listen);
  const serverHost = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  const apiHosts = [
    ...new Set([
      serverHost,
      ...(serverHost === host ? [] : ownAddresses()),
      ...(options.advertise === undefined ? [] : [options.advertise]),
      '127.0.0.1',
      '::1',
      'localhost',
      hostname(),
      'kubernetes',
      'kubernetes.default',
      'kubernetes.default.svc',
    ]),
  ];
  const leaf = { days: LEAF_DAYS, now: options.now } as const;
  const client = (commonName: string, organizations: string[]): CertificateRequest => ({
    ...leaf,
    usage: 'client',
    commonName,
    organizations,
  });
  const server = (commonName: string, hosts: string[]): CertificateRequest => ({
    ...leaf,
    usage: 'server',
    commonName,
    hosts,
  });

  if (options.authority) adoptAuthority(folder, 'ca', options.authority);
  const ca = await ensureAuthority(folder, 'ca', 'windlass-ca', options.now);
  await ensureLeaf(folder, 'apiserver', ca, server('windlass-apiserver', apiHosts));
  await ensureLeaf(folder, 'registry', ca, server('windlass-registry', apiHosts));
  await ensureLeaf(folder, 'apiserver-agent-client', ca, client('windlass:apiserver', []));
  const admin = await ensureLeaf(folder, 'admin', ca, client('admin', ['system:masters']));
  const registry = await ensureLeaf(folder, 'registry-client', ca, client(REGISTRY_USER, []));
  const controllers = await ensureLeaf(folder, 'controllers', ca, client('windlass:controllers', ['system:masters']));

  // The store has an authority of its own: a client certificate of the cluster must not open it.
  const etcdCa = await ensureAuthority(folder, 'etcd-ca', 'windlass-etcd-ca', options.now);
  // etcd's gateway shows the serving certificate when it is a client. So do its members among each other, who are let in
  // only from an address that stands in it.
  await ensureLeaf(folder, 'etcd', etcdCa, {
    ...server('etcd', ['localhost', '127.0.0.1', '::1']),
    usage: 'both',
  });
  const peerHosts = [
    'localhost',
    '127.0.0.1',
    '::1',
    ...ownAddresses(),
    ...(options.peerHost ? [options.peerHost] : []),
  ];
  await ensureLeaf(folder, 'etcd-peer', etcdCa, { ...server('etcd', [...new Set(peerHosts)]), usage: 'both' });
  await ensureLeaf(folder, 'etcd-client', etcdCa, client('windlass-apiserver', []));
  ensureServiceAccountKey(folder);

  const url = `https://${formatHostPort({ host: serverHost, port })}`;
  const kubeconfig = (user: string, pair: KeyPair, others: readonly string[] = []): string =>
    renderKubeconfig({ server: url, others, ca: ca.cert, user, client: pair });
  writeWhenChanged(paths.adminKubeconfig(instance), kubeconfig('admin', admin, options.otherServers));
  writeWhenChanged(join(folder, 'controllers.kubeconfig'), kubeconfig('controllers', controllers));
  writeWhenChanged(join(folder, 'registry.kubeconfig'), kubeconfig('registry', registry));
  ensureTokenFile(folder);
  if (options.node) {
    const { name, ips } = options.node;
    const hosts = [...new Set([name, '127.0.0.1', '::1', 'localhost', ...ips])];
    await ensureLeaf(folder, 'node-agent', ca, server(`${NODE_USER}${name}`, hosts));
    const node = await ensureLeaf(folder, 'node', ca, client(`${NODE_USER}${name}`, [NODE_GROUP]));
    writeWhenChanged(join(folder, 'node.kubeconfig'), kubeconfig('node', node));
  }
  return paths.adminKubeconfig(instance);
}

/** What the servers of a cluster have in common. */
export interface ClusterKeys {
  readonly authority: KeyPair;
  readonly etcdAuthority: KeyPair;
  readonly serviceAccount: { readonly publicKey: string; readonly key: string };
}

/** Puts the keys of a cluster in their places. Throws Conflict where there are those of another one. */
export function adoptKeys(instance: Instance, { authority, etcdAuthority, serviceAccount }: ClusterKeys): void {
  const folder = paths.pki(instance);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(instance.home, 0o700);
  adoptAuthority(folder, 'ca', authority);
  adoptAuthority(folder, 'etcd-ca', etcdAuthority);
  writeWhenChanged(join(folder, 'sa.pub'), serviceAccount.publicKey);
  writeWhenChanged(join(folder, 'sa.key'), serviceAccount.key);
}

/** Throws Conflict where another authority has signed already. */
function adoptAuthority(folder: string, name: 'ca' | 'etcd-ca', authority: KeyPair): void {
  const present = readPair(folder, name);
  if (!present) {
    writePair(folder, name, authority);
  } else if (keyHashOf(present.cert) !== keyHashOf(authority.cert)) {
    throw new WindlassError(
      'Conflict',
      `${folder} has an authority of its own (${name}.crt), which is not that of the cluster: choose another --home`,
    );
  }
}

/** The administrator's bearer token, for what cannot show a certificate: the password of `docker login`. */
function ensureTokenFile(folder: string): void {
  const file = join(folder, 'tokens.csv');
  if (existsSync(file)) return;
  replaceFile(file, `${randomBytes(32).toString('hex')},admin,admin,"system:masters"\n`);
}

async function ensureAuthority(folder: string, name: string, commonName: string, now: number): Promise<KeyPair> {
  return readPair(folder, name) ?? writePair(folder, name, await createAuthority(commonName, AUTHORITY_DAYS, now));
}

async function ensureLeaf(
  folder: string,
  name: string,
  authority: KeyPair,
  request: CertificateRequest,
): Promise<KeyPair> {
  const existing = readPair(folder, name);
  const subject = join(folder, `${name}.subject`);
  const wanted = JSON.stringify([request.commonName, request.organizations ?? [], request.usage]);
  if (
    existing &&
    certificateLife(existing.cert).notAfter - request.now > RENEW_BEFORE_MS &&
    existsSync(subject) &&
    readFileSync(subject, 'utf8') === wanted
  ) {
    const held = certificateHosts(existing.cert).map(normaliseHost);
    if ((request.hosts ?? []).every((host) => held.includes(normaliseHost(host)))) return existing;
  }
  const pair = writePair(folder, name, await issueCertificate(authority, request));
  writeWhenChanged(subject, wanted);
  return pair;
}

// A certificate spells IPv6 addresses out; compare by value.
const normaliseHost = (host: string): string => canonicalAddress(host).toLowerCase();

function ensureServiceAccountKey(folder: string): void {
  if (existsSync(join(folder, 'sa.key'))) return;
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  writeWhenChanged(join(folder, 'sa.pub'), publicKey);
  writeWhenChanged(join(folder, 'sa.key'), privateKey);
}

function readPair(folder: string, name: string): KeyPair | undefined {
  const cert = join(folder, `${name}.crt`);
  const key = join(folder, `${name}.key`);
  return existsSync(cert) && existsSync(key)
    ? { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
    : undefined;
}

function writePair(folder: string, name: string, pair: KeyPair): KeyPair {
  // Without its certificate a key is no pair: a crash in between makes both anew.
  rmSync(join(folder, `${name}.crt`), { force: true });
  writeWhenChanged(join(folder, `${name}.key`), pair.key);
  writeWhenChanged(join(folder, `${name}.crt`), pair.cert);
  return pair;
}

function writeWhenChanged(path: string, text: string): void {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  replaceFile(path, text);
}
