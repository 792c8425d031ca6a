// The embedded etcd as one member of the cluster: what it is called, where others reach it, and what is remembered of it.
import { existsSync, rmSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { ServerList } from '../crds/servers.ts';
import { WindlassError } from '../lib/errors.ts';
import { formatHostPort, parseHostPort } from '../lib/host-port.ts';
import { paths, type Instance } from '../lib/instance.ts';
import { firstOwnAddress, linkOfAddress } from '../lib/node-address.ts';
import { replaceFile } from '../lib/replace-file.ts';
import { readRemembered } from './join/remembered.ts';
import { chooseEtcdPorts, type EtcdPorts } from './ports.ts';

export interface EtcdMember {
  readonly ports: EtcdPorts;
  /** `host:port` of the API server beside it. */
  readonly name: string;
  readonly peerUrl: string;
  /** `address:port`. */
  readonly peerListen: string;
  /** Of a member that joined: all there were when it did. */
  readonly initialCluster?: string;
}

const membership = z.object({
  /** Of the machine alone; its hash is what a token counts it by. */
  secret: z.string(),
  caHash: z.string(),
  servers: z.array(z.string()).min(1),
  name: z.string(),
  /** Absent until the others have made room. */
  initialCluster: z.string().optional(),
});
/** What a server that joined others remembers of it. */
export type Membership = z.infer<typeof membership>;

const membershipFile = (instance: Instance): string => join(instance.home, 'server-joined.json');
const membersFile = (instance: Instance): string => join(instance.home, 'etcd-members.json');

/** What this server has joined; undefined for the first one. Throws Conflict when the file is damaged. */
export function readMembership(instance: Instance): Membership | undefined {
  return readJson(membershipFile(instance), membership);
}

export function writeMembership(instance: Instance, value: Membership): void {
  replaceFile(membershipFile(instance), JSON.stringify(value), { flush: true });
}

/** All servers as this one saw them last; none before it has started. */
export function readMembers(instance: Instance): ServerList['servers'] {
  return readJson(membersFile(instance), ServerList)?.servers ?? [];
}

/** This server as it saw itself last among the others; undefined before it has. */
export function readSelf(instance: Instance): ServerList['servers'][number] | undefined {
  const list = readJson(membersFile(instance), ServerList);
  return list?.servers.find(({ name }) => name === list.self);
}

/** For a store that is a cluster of its own from now on. */
export function forgetMembership(instance: Instance): void {
  for (const file of [membershipFile(instance), membersFile(instance)]) rmSync(file, { force: true });
}

/** For a member that is about to start without data, as the others know. */
export const forgetMembers = (instance: Instance): void => rmSync(membersFile(instance), { force: true });

const readJson = <T>(file: string, schema: z.ZodType<T>): T | undefined =>
  readRemembered(file, schema, 'put it back from a copy, or join anew in another --home');

/**
 * Throws Conflict where the store of one of several servers is gone: an empty one in its place would be another cluster, and
 * one that takes its name again would break what it has promised to the others. And where joining was cut off: a store that is
 * there is that of a member that was removed.
 */
export function refuseLostMember(instance: Instance): void {
  const joined = readMembership(instance);
  if (joined && joined.initialCluster === undefined) {
    const message = `joining ${joined.servers[0]} was cut off: finish it with windlass server --join URL --token TOKEN`;
    throw new WindlassError('Conflict', message);
  }
  if (existsSync(paths.etcdData(instance))) return;
  const members = readMembers(instance);
  if (members.length < 2) return;
  const urls = members.map(({ name }) => name).join(', ');
  throw new WindlassError(
    'Conflict',
    `the store of ${instance.home} is gone, and it was one of ${members.length} servers (${urls}): put it in its place again with windlass server --join URL --token TOKEN, the token being made on one of the others by windlass token create --role server`,
  );
}

/** Throws Conflict for one of several servers: with a snapshot in its place, it and the others would be two clusters. */
export function refuseOneOfSeveral(instance: Instance): void {
  const members = readMembers(instance);
  if (members.length < 2) return;
  const urls = members.map(({ name }) => name).join(', ');
  throw new WindlassError(
    'Conflict',
    `it was one of ${members.length} servers (${urls}): while more than half of them are left, join it again with windlass server --join; else stop them all, give --alone here, and let the others join it with an empty --home`,
  );
}

/** Throws Conflict where a server that has joined is to start for the first time under another name than the others know. */
export function refuseOtherName(instance: Instance, { name, initialCluster }: EtcdMember): void {
  const joined = readMembership(instance);
  if (initialCluster === undefined || !joined || joined.name === name || existsSync(paths.etcdData(instance))) return;
  const message = `this server has joined as ${joined.name}, and would start as ${name}: give the --listen and --advertise that it joined with`;
  throw new WindlassError('Conflict', message);
}

/** The member of a server that listens at `listen` and is reached by `advertise`. */
export async function describeMember(
  instance: Instance,
  { listen, advertise }: { listen: string; advertise?: string | undefined },
): Promise<EtcdMember> {
  const { host, port } = parseHostPort(listen);
  const isAny = host === '0.0.0.0' || host === '::';
  const peerHost = advertise ?? (isAny ? firstOwnAddress() : host === 'localhost' ? '127.0.0.1' : host);
  // etcd listens at addresses alone: behind a host name, or the address of a router in front, may be any of them.
  const isOwn = isIP(peerHost) !== 0 && linkOfAddress(peerHost) !== undefined;
  const listenHost = isOwn ? peerHost : '0.0.0.0';
  const ports = await chooseEtcdPorts(instance, listenHost);
  const joined = readMembership(instance);
  const name = formatHostPort({ host: peerHost, port });
  return {
    ports,
    name,
    peerUrl: `https://${formatHostPort({ host: peerHost, port: ports.peer })}`,
    peerListen: formatHostPort({ host: listenHost, port: ports.peer }),
    ...(joined?.initialCluster === undefined ? {} : { initialCluster: joined.initialCluster }),
  };
}

/** The only member of a store that is being recovered, for nobody but this machine. */
export async function describeRecovered(instance: Instance): Promise<EtcdMember> {
  const ports = await chooseEtcdPorts(instance);
  const peer = `127.0.0.1:${ports.peer}`;
  return { ports, name: 'recovered', peerUrl: `https://${peer}`, peerListen: peer };
}
