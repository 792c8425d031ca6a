// Keeps the membership of the embedded etcd true, from every server alike: its own address, learners that have caught up,
// machines that began to join and never came. What is found is kept in a file, for the day on which the data is lost.
import { dirname, join } from 'node:path';
import { mkdirSync } from 'node:fs';
import { urlOfServer, type ServerList } from '../../crds/servers.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf, WindlassError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { replaceFile } from '../../lib/replace-file.ts';
import { isListening as listensAt } from './is-listening.ts';
import {
  addLearner,
  listMembers,
  moveMember,
  ownMemberId,
  promoteMember,
  removeMember,
  type Member,
  type MemberClient,
} from '../storage/members.ts';

export interface MembershipDeps {
  readonly client: MemberClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether the etcd of another member is up. */
  readonly isListening?: (peerUrl: string) => Promise<boolean>;
}

export interface MembershipOptions {
  /** Where the other members reach that of this server. */
  readonly peerUrl: string;
  /** The members as they were seen last. */
  readonly file: string;
}

export interface Membership {
  /** As they were seen last; none before the first look. */
  list(): ServerList;
  /**
   * Makes room for a member without data at `peerUrl`: as it is to be started. In place of the one there, if any, which has
   * lost its data. Throws Conflict when that one is up, or the name is taken; Unavailable while another one joins.
   */
  admit(name: string, peerUrl: string): Promise<string>;
  /** Throws NotFound for a name that no server has, Conflict for the last one. */
  remove(name: string): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

const LOOK_MS = 15_000;
/** While somebody joins. */
const SOON_MS = 500;
/** Who has not been there for so long is forgotten, so that another one can join; it may ask again. */
const FORGET_MS = 5 * 60_000;

/** Nothing is asked before run(). */
export function createMembership(
  { client, clock, log, isListening = listensAt }: MembershipDeps,
  { peerUrl: ownPeerUrl, file }: MembershipOptions,
): Membership {
  /** Learners that nobody has heard: since when, by id. */
  const absentSince = new Map<string, number>();
  let members: readonly Member[] = [];
  let ownId = '';
  let written = '';
  let wake = new AbortController();

  const remember = (found: readonly Member[]): void => {
    members = found;
    // Of a cluster that this one has left: with that list, an empty store in its place would be taken for the only member.
    if (!found.some(({ id }) => id === ownId)) return;
    const text = JSON.stringify(toServers(found, ownPeerUrl));
    if (text === written) return;
    mkdirSync(dirname(file), { recursive: true });
    replaceFile(file, text);
    written = text;
  };

  const announceOwn = async (found: readonly Member[]): Promise<readonly Member[]> => {
    ownId = await ownMemberId(client);
    const own = found.find(({ id }) => id === ownId);
    if (!own || own.isLearner || own.peerUrls.join() === ownPeerUrl) return found;
    await moveMember(client, ownId, ownPeerUrl);
    log.info({ from: own.peerUrls, to: ownPeerUrl }, 'told the other members where this one is');
    return listMembers(client);
  };

  const helpLearner = async (member: Member): Promise<void> => {
    const { id, name, peerUrls } = member;
    // It has told its name when it started; it may have died since, before it had caught up.
    if (name !== '') {
      const hasJoined = await promoteMember(client, id);
      if (hasJoined) log.info({ name, peerUrls }, 'a server has joined');
      if (hasJoined || (await isListening(peerUrls[0] ?? ''))) return void absentSince.delete(id);
    }
    const since = absentSince.get(id) ?? clock.now();
    absentSince.set(id, since);
    if (clock.now() - since < FORGET_MS) return;
    await removeMember(client, id);
    log.warn({ name, peerUrls }, 'a server that was to join is not there: it is forgotten');
  };

  const look = async (): Promise<void> => {
    remember(await announceOwn(await listMembers(client)));
    for (const member of members) if (member.isLearner) await helpLearner(member);
    for (const id of absentSince.keys()) {
      if (!members.some((member) => member.id === id && member.isLearner)) absentSince.delete(id);
    }
    if (members.some(({ isLearner }) => isLearner)) remember(await listMembers(client));
  };

  /** Who asks has no store: a member that has one is another machine, or was asked to join by mistake. */
  const refuseLive = async (there: Member, peerUrl: string): Promise<void> => {
    const isOwn = there.id === ownId || peerUrl === ownPeerUrl;
    if (!isOwn && !(await isListening(peerUrl))) return;
    const name = nameOf(there);
    const message = isOwn
      ? `${peerUrl} is the etcd of ${name}, the server that was asked: choose another --listen or --advertise`
      : `${peerUrl} is the etcd of the server ${name}, which is up: start that one without --join; when it has lost its store, stop it first, or remove it: windlass server remove ${name}`;
    throw new WindlassError('Conflict', message);
  };

  return {
    list: () => toServers(members, ownPeerUrl),
    async admit(name, peerUrl) {
      let found = await announceOwn(await listMembers(client));
      const there = found.find(({ peerUrls }) => peerUrls.includes(peerUrl));
      refuseNamesake(found, name, there);
      refuseWhileJoining(found, there);
      if (there) {
        await refuseLive(there, peerUrl);
        log.warn({ name: nameOf(there), peerUrl }, 'a member has lost its data: it is replaced');
        await removeMember(client, there.id);
      }
      await addLearner(client, peerUrl);
      found = await listMembers(client);
      remember(found);
      wake.abort();
      return initialCluster(found, name, peerUrl);
    },
    async remove(name) {
      const found = await listMembers(client);
      const member = found.find((one) => nameOf(one) === name);
      if (!member) {
        const known = found.map(nameOf).join(', ');
        throw new WindlassError('NotFound', `there is no server ${JSON.stringify(name)}: there are ${known}`);
      }
      if (!member.isLearner && found.filter(({ isLearner }) => !isLearner).length === 1) {
        throw new WindlassError('Conflict', `${name} is the only server: there would be no cluster without it`);
      }
      await removeMember(client, member.id);
      log.info({ name }, 'removed a server');
      // Asked of a member that is no longer one, this fails.
      remember(found.filter((one) => one !== member));
    },
    async run(signal) {
      while (!signal.aborted) {
        try {
          await look();
        } catch (error) {
          log.debug({ err: messageOf(error) }, 'failed to look after the members of etcd');
        }
        wake = new AbortController();
        const waitMs = members.length === 0 || members.some(({ isLearner }) => isLearner) ? SOON_MS : LOOK_MS;
        await clock.sleep(waitMs, AbortSignal.any([signal, wake.signal])).catch(() => undefined);
      }
    },
  };
}

function refuseNamesake(found: readonly Member[], name: string, there: Member | undefined): void {
  const namesake = found.find((member) => member.name === name && member !== there);
  if (!namesake) return;
  const message = `the server ${name} is a member of the cluster already, with its etcd at ${namesake.peerUrls.join()}: choose another --listen or --advertise, or remove that one first: windlass server remove ${name}`;
  throw new WindlassError('Conflict', message);
}

/** etcd has one learner at a time: said before anything is removed for the next one. */
function refuseWhileJoining(found: readonly Member[], there: Member | undefined): void {
  const joining = found.find((member) => member.isLearner && member !== there);
  if (!joining) return;
  const name = nameOf(joining);
  const message = `the server ${name} is joining at this moment: try again when it has; if it never will, remove it: windlass server remove ${name}`;
  throw new WindlassError('Unavailable', message);
}

/** One that has not started has no name yet: it goes by its address. */
const nameOf = ({ name, peerUrls }: Member): string => name || (peerUrls[0] ?? '').replace('https://', '');

function toServers(members: readonly Member[], ownPeerUrl: string): ServerList {
  const self = members.find(({ peerUrls }) => peerUrls.includes(ownPeerUrl));
  return {
    ...(self ? { self: nameOf(self) } : {}),
    servers: members.map((member) => {
      const url = urlOfServer(member.name);
      return {
        name: nameOf(member),
        ...(url === undefined ? {} : { url }),
        peerUrl: member.peerUrls[0] ?? '',
        role: member.isLearner ? ('Joining' as const) : ('Member' as const),
      };
    }),
  };
}

function initialCluster(members: readonly Member[], name: string, peerUrl: string): string {
  return members
    .flatMap((member) => member.peerUrls.map((url) => `${url === peerUrl ? name : nameOf(member)}=${url}`))
    .join(',');
}

/** Where the members of an instance are kept. */
export const membersFile = (home: string): string => join(home, 'etcd-members.json');
