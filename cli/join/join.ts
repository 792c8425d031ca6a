// A machine becomes a node: it learns the authority, asks for its certificates, and remembers what it has joined.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createApiClient } from '../../client/api-client.ts';
import type { ApiClient } from '../../client/client.ts';
import { readKubeconfig, type Connection } from '../../client/kubeconfig.ts';
import { requestCertificate } from '../../client/request-certificate.ts';
import { nodeKind } from '../../crds/builtin.ts';
import { createPrivateKeyPem } from '../../lib/certificate-request.ts';
import { isUnavailable, messageOf, reasonOf, WindlassError } from '../../lib/errors.ts';
import { paths, type Instance } from '../../lib/instance.ts';
import { isReachable } from '../../lib/node-address.ts';
import { certificateLife } from '../../lib/pki.ts';
import { readVersion } from '../../lib/version.ts';
import type { NodeOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { renderFileKubeconfig } from '../kubeconfig.ts';
import { replaceFile } from '../../lib/replace-file.ts';
import { clockProblem, versionProblem } from './compare-machines.ts';
import { firstServer } from './first-server.ts';
import { readJoined, readLearntServers, refuseServerHome, writeJoined, type Joined } from './joined.ts';
import { readToken } from './token-source.ts';

const CERTIFICATE_TIMEOUT_MS = 60_000;
const STANDING_TIMEOUT_MS = 5_000;

type JoinFlags = Pick<NodeOptions, 'server' | 'token' | 'tokenFile' | 'caHash' | 'nodeName' | 'nodeIp'>;

/**
 * Joins, or finds that the machine has joined already. Safe to repeat after it failed at any point: the key is kept, and the
 * name belongs to it. Throws BadRequest for flags, Unauthorized and Forbidden for what the server refuses.
 */
export async function joinCluster(
  instance: Instance,
  flags: JoinFlags,
  { output, signal }: { output: Output; signal: AbortSignal },
): Promise<Joined> {
  refuseServerHome(instance);
  const found = readJoined(instance);
  const before = found && { ...found, servers: [...new Set([...found.servers, ...readLearntServers(instance)])] };
  if (before) {
    checkSameCluster(before, flags, instance);
    const problem = await standingOf(instance, before, output, signal);
    if (problem === undefined) {
      const joined = { ...before, servers: preferFirst(flags.server ?? before.servers, before.servers[0]) };
      writeKubeconfig(instance, joined);
      writeJoined(instance, joined);
      if (flags.token !== undefined || flags.tokenFile !== undefined) {
        output.note(`already joined ${joined.servers[0]} as node ${joined.nodeName}: the token was not used`);
      }
      return joined;
    }
    if (flags.token === undefined && flags.tokenFile === undefined) throw problem;
    output.note(`${messageOf(problem)}: joining again`);
  }
  return joinAnew(instance, withKnown(flags, before), { output, signal });
}

/** The one that answered last time comes first, as long as it is among them. */
const preferFirst = (servers: readonly string[], first: string | undefined): string[] =>
  servers.toSorted((a, b) => Number(b === first) - Number(a === first));

function withKnown(flags: JoinFlags, before: Joined | undefined): JoinFlags {
  if (!before) return flags;
  const { servers, nodeName, caHash } = before;
  return {
    ...flags,
    server: flags.server ?? servers,
    nodeName: flags.nodeName ?? nodeName,
    caHash: flags.caHash ?? caHash,
  };
}

function checkSameCluster(before: Joined, { caHash, nodeName }: JoinFlags, instance: Instance): void {
  const leave = 'leave it first with: windlass down --purge, or choose another --home and --run';
  if (caHash !== undefined && caHash !== before.caHash) {
    throw new WindlassError('Conflict', `${instance.home} has joined another cluster (${before.servers[0]}): ${leave}`);
  }
  if (nodeName !== undefined && nodeName !== before.nodeName) {
    throw new WindlassError(
      'Conflict',
      `${instance.home} has joined as node ${before.nodeName}, not ${nodeName}: ${leave}`,
    );
  }
}

/** Why the cluster does not take this node any more; undefined when it does, or when nobody can be asked. */
async function standingOf(
  instance: Instance,
  { servers, nodeName }: Joined,
  output: Output,
  signal: AbortSignal,
): Promise<Error | undefined> {
  const cert = readFileSync(join(paths.pki(instance), 'node.crt'), 'utf8');
  const { notAfter } = certificateLife(cert);
  if (notAfter <= Date.now()) {
    const at = new Date(notAfter).toISOString();
    return new WindlassError(
      'Unauthorized',
      `the certificate of node ${nodeName} ran out at ${at}; give a new --token`,
    );
  }
  const connection = readKubeconfig(join(paths.pki(instance), 'node.kubeconfig'));
  const client = createApiClient({ ...connection, otherServers: servers.slice(1) });
  try {
    await client
      .kind(nodeKind)
      .get(nodeName, undefined, AbortSignal.any([signal, AbortSignal.timeout(STANDING_TIMEOUT_MS)]));
    return undefined;
  } catch (error) {
    if (reasonOf(error) === 'Unauthorized') return error as Error;
    if (signal.aborted) throw error;
    if (!isUnavailable(error)) output.note(messageOf(error));
    output.note(`${servers.join(', ')} cannot be reached: the node starts all the same, and goes on as it was`);
    return undefined;
  } finally {
    await client.close();
  }
}

async function joinAnew(
  instance: Instance,
  flags: JoinFlags,
  { output, signal }: { output: Output; signal: AbortSignal },
): Promise<Joined> {
  const { server: servers, caHash } = flags;
  const token = readToken(flags);
  const missing = [
    ...(servers ? [] : ['--server']),
    ...(token === undefined ? ['--token'] : []),
    ...(caHash ? [] : ['--ca-hash']),
  ];
  if (!servers || token === undefined || !caHash) {
    throw new WindlassError(
      'BadRequest',
      `missing ${missing.join(', ')}: on the server, windlass token create --print-join-command prints the whole command`,
    );
  }
  const nodeName = flags.nodeName ?? hostname().toLowerCase();
  const { url, facts } = await firstServer('--server', servers, caHash, signal);
  const problem = clockProblem(Date.now(), facts.clockMs) ?? versionProblem(readVersion(), facts.version);
  if (problem !== undefined) throw new WindlassError('Conflict', problem);

  const joined: Joined = {
    servers: preferFirst(servers, url),
    ...{ nodeName, caHash },
    // The way to the server is the way back, too, unless --node-ip says otherwise.
    ...(isReachable(facts.ownAddress) ? { ownAddress: facts.ownAddress } : {}),
  };
  const key = ensureKey(instance);
  writeFile(instance, 'ca.crt', facts.authority);
  const ask = async (credentials: Partial<Connection>, usage: 'client' | 'server'): Promise<string> => {
    const client = createApiClient({ server: url, ca: facts.authority, namespace: 'default', ...credentials });
    return waitForCertificate(client, { nodeName, key, usage }, signal);
  };
  const cert = await ask({ token }, 'client');
  writeFile(instance, 'node.crt', cert);
  writeKubeconfig(instance, joined);
  const serving = await ask({ cert, key }, 'server');
  writeFile(instance, 'node-agent.key', key);
  writeFile(instance, 'node-agent.crt', serving);
  writeJoined(instance, joined);
  output.note(`joined ${url} as node ${nodeName}`);
  return joined;
}

async function waitForCertificate(
  client: ApiClient,
  wish: Parameters<typeof requestCertificate>[1],
  signal: AbortSignal,
): Promise<string> {
  const limit = AbortSignal.timeout(CERTIFICATE_TIMEOUT_MS);
  try {
    return await requestCertificate(client, wish, AbortSignal.any([signal, limit]));
  } catch (error) {
    if (!limit.aborted || signal.aborted) throw error;
    const message = `nobody has signed the certificate within ${CERTIFICATE_TIMEOUT_MS / 1000} s: do the controllers of the server run? See: kubectl get csr`;
    throw new WindlassError('Timeout', message, { cause: error });
  } finally {
    await client.close();
  }
}

const writeKubeconfig = (instance: Instance, { servers: [server = ''] }: Joined): void =>
  writeFile(instance, 'node.kubeconfig', renderFileKubeconfig(server));

function ensureKey(instance: Instance): string {
  const file = join(paths.pki(instance), 'node.key');
  if (existsSync(file)) return readFileSync(file, 'utf8');
  const key = createPrivateKeyPem();
  writeFile(instance, 'node.key', key);
  return key;
}

function writeFile(instance: Instance, name: string, text: string): void {
  const folder = paths.pki(instance);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, name);
  replaceFile(file, text);
}
