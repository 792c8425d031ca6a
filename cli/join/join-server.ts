// A machine becomes a further server: it learns the authority, is given the keys of the cluster and a place in etcd, and
// remembers what it has joined.
import { randomBytes, createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { createServersClient } from '../../client/servers.ts';
import type { JoinAnswer, JoinRequest } from '../../crds/servers.ts';
import { keyHashOf } from '../../lib/certificate-request.ts';
import { compactTime, systemClock } from '../../lib/clock.ts';
import { isUnavailable, messageOf, reasonOf, WindlassError } from '../../lib/errors.ts';
import { paths, type Instance } from '../../lib/instance.ts';
import { readVersion } from '../../lib/version.ts';
import {
  describeMember,
  forgetMembers,
  readMembership,
  readSelf,
  writeMembership,
  type Membership,
} from '../etcd-member.ts';
import type { ServerOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { adoptKeys } from '../pki.ts';
import { clockProblem, versionProblem } from './compare-machines.ts';
import { firstServer } from './first-server.ts';
import { refuseJoinedHome } from './joined.ts';
import { readToken } from './token-source.ts';
import { wasRemoved, type Self } from './was-removed.ts';

const PLACE_TIMEOUT_MS = 60_000;
const RETRY_MS = 1_000;

type JoinFlags = Pick<
  ServerOptions,
  'join' | 'token' | 'tokenFile' | 'caHash' | 'listen' | 'advertise' | 'etcdServers' | 'caCert'
>;

/**
 * Joins, or finds that the machine has joined already. Safe to repeat after it failed at any point: the machine keeps the
 * secret by which the token counts it. Throws BadRequest for flags, Conflict for a home that is in other use, Unauthorized and
 * Forbidden for what the server refuses.
 */
export async function joinServers(
  instance: Instance,
  flags: JoinFlags,
  { output, signal }: { output: Output; signal: AbortSignal },
): Promise<void> {
  refuseJoinedHome(instance);
  if (flags.etcdServers !== undefined || flags.caCert !== undefined) {
    throw new WindlassError('BadRequest', '--join is for the embedded etcd: want no --etcd-servers and no --ca-cert');
  }
  const before = readMembership(instance);
  const token = readToken(flags);
  const hasJoined = before?.initialCluster !== undefined;
  if (existsSync(paths.etcdData(instance))) {
    if (!before) throw ownStore(instance);
    // Else it was found to be removed, and joining again was cut off.
    if (hasJoined) {
      if (token === undefined) return;
      const self = await describeSelf(instance, before, flags);
      if (!(await wasRemoved(instance, { servers: before.servers, self }, { output, signal }))) {
        output.note(`already a server of ${before.servers[0]}: the token was not used`);
        return;
      }
      output.note('this server was removed from the cluster: joining again');
    }
  } else if (hasJoined && token === undefined) return;
  await joinAnew(instance, { flags, before, token }, { output, signal });
}

const ownStore = (instance: Instance): WindlassError =>
  new WindlassError(
    'Conflict',
    `${instance.home} holds the store of another cluster: choose another --home and --run, or remove it with: windlass down --purge`,
  );

/** All that the others may know it by: as it joined, as it was seen last, and as it is to start now. */
async function describeSelf(instance: Instance, { name }: Membership, flags: JoinFlags): Promise<Self> {
  const now = await describeMember(instance, flags);
  const seen = readSelf(instance);
  return {
    names: [name, now.name, ...(seen ? [seen.name] : [])],
    peerUrls: [now.peerUrl, ...(seen ? [seen.peerUrl] : [])],
  };
}

async function joinAnew(
  instance: Instance,
  { flags, before, token }: { flags: JoinFlags; before: Membership | undefined; token: string | undefined },
  { output, signal }: { output: Output; signal: AbortSignal },
): Promise<void> {
  const servers = flags.join ?? before?.servers;
  const caHash = flags.caHash ?? before?.caHash;
  const missing = [
    ...(servers ? [] : ['--join']),
    ...(token === undefined ? ['--token'] : []),
    ...(caHash === undefined ? ['--ca-hash'] : []),
  ];
  if (!servers || token === undefined || caHash === undefined) {
    throw new WindlassError(
      'BadRequest',
      `missing ${missing.join(', ')}: on a server, windlass token create --role server --print-join-command prints the whole command`,
    );
  }
  refuseOtherAuthority(instance, caHash);
  const { url, facts } = await firstServer('--join', servers, caHash, signal);
  const problem = clockProblem(Date.now(), facts.clockMs) ?? versionProblem(readVersion(), facts.version, 'server');
  if (problem !== undefined) throw new WindlassError('Conflict', problem);

  const { name, peerUrl } = await describeMember(instance, flags);
  const secret = before?.secret ?? randomBytes(32).toString('hex');
  const membership: Membership = { secret, caHash, servers: [url, ...servers.filter((one) => one !== url)], name };
  writeMembership(instance, membership);
  const client = createServersClient({ server: url, ca: facts.authority, token, namespace: 'default' });
  let answer: JoinAnswer;
  try {
    const machine = createHash('sha256').update(secret).digest('hex');
    answer = await askForPlace(client, { name, peerUrl, machine }, { output, signal });
  } finally {
    await client.close();
  }
  if (keyHashOf(answer.authority.key) !== caHash || keyHashOf(answer.authority.cert) !== caHash) {
    throw new WindlassError('Forbidden', `${url} answered with the keys of another authority than --ca-hash says`);
  }
  putAsideStore(instance, output);
  adoptKeys(instance, answer);
  writeMembership(instance, { ...membership, initialCluster: answer.initialCluster });
  forgetMembers(instance);
  output.note(`joined ${url} as server ${name}; its store catches up with the others now`);
}

/** Of the member that this one was before. */
function putAsideStore(instance: Instance, output: Output): void {
  const data = paths.etcdData(instance);
  if (!existsSync(data)) return;
  const old = `${data}.before-${compactTime(Date.now())}`;
  renameSync(data, old);
  output.note(`the old store of this server is kept in ${old}`);
}

function refuseOtherAuthority(instance: Instance, caHash: string): void {
  const file = join(paths.pki(instance), 'ca.crt');
  if (!existsSync(file) || keyHashOf(readFileSync(file, 'utf8')) === caHash) return;
  throw new WindlassError(
    'Conflict',
    `${instance.home} has keys of another cluster than --ca-hash says: choose another --home and --run, or remove them with: windlass down --purge`,
  );
}

/** One server joins at a time, and only while all members are up: what stands in the way may pass. */
async function askForPlace(
  client: Pick<ReturnType<typeof createServersClient>, 'join'>,
  request: JoinRequest,
  { output, signal }: { output: Output; signal: AbortSignal },
): Promise<JoinAnswer> {
  const until = Date.now() + PLACE_TIMEOUT_MS;
  let said = '';
  for (;;) {
    try {
      return await client.join(request, signal);
    } catch (error) {
      const mayPass = isUnavailable(error) || reasonOf(error) === 'Timeout';
      if (!mayPass || Date.now() > until) throw error;
      const message = messageOf(error);
      if (message !== said) output.note(`waiting: ${message}`);
      said = message;
    }
    await systemClock.sleep(RETRY_MS, signal);
  }
}
