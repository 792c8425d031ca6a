// The members of the etcd behind this server, as far as they are its own.
// https://etcd.io/docs/v3.4/op-guide/runtime-configuration/
import { WindlassError } from '../../lib/errors.ts';
import { translateEtcdError, type EtcdClient } from './etcd-client.ts';

export interface Member {
  readonly id: string;
  /** Empty until it has started. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  /** It follows, but has no vote yet. */
  readonly isLearner: boolean;
}

export type MemberClient = Pick<EtcdClient, 'cluster' | 'maintenance'>;

/** A change of the membership takes a majority, and waits for one. */
const CHANGE_TIMEOUT_MS = 10_000;
const deadline = (): { deadline: number } => ({ deadline: Date.now() + CHANGE_TIMEOUT_MS });

/** All of them, as the member knows them that is asked. */
export async function listMembers({ cluster }: MemberClient): Promise<Member[]> {
  const { members } = await translated(() => cluster.memberList({}));
  return members.map(({ ID, name, peerURLs, isLearner }) => ({ id: ID, name, peerUrls: peerURLs, isLearner }));
}

/** The id of the member that is asked. */
export async function ownMemberId({ maintenance }: MemberClient): Promise<string> {
  const { header } = await translated(() => maintenance.status());
  return header.member_id;
}

/** Adds one that has no vote before it is promoted. */
export async function addLearner({ cluster }: MemberClient, peerUrl: string): Promise<void> {
  await translated(() => cluster.memberAdd({ peerURLs: [peerUrl], isLearner: true }, deadline()));
}

/** False while it has not caught up with the leader. */
export async function promoteMember({ cluster }: MemberClient, id: string): Promise<boolean> {
  try {
    await translated(() => cluster.memberPromote({ ID: id }, deadline()));
    return true;
  } catch (error) {
    if (/in sync with leader|not a learner|not learner/.test((error as Error).message)) return false;
    throw error;
  }
}

/** Says where the member is reached from now on. */
export async function moveMember({ cluster }: MemberClient, id: string, peerUrl: string): Promise<void> {
  await translated(() => cluster.memberUpdate({ ID: id, peerURLs: [peerUrl] }, deadline()));
}

/** Its etcd ends when it hears of it. Throws Unavailable when the others would have no majority without it. */
export async function removeMember({ cluster }: MemberClient, id: string): Promise<void> {
  await translated(() => cluster.memberRemove({ ID: id }, deadline()));
}

async function translated<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    const known = translateEtcdError(error);
    const why = REASONS.find(([pattern]) => pattern.test(known.message))?.[1];
    throw why === undefined ? known : new WindlassError('Unavailable', why, { cause: error });
  }
}

const REASONS: readonly (readonly [RegExp, string])[] = [
  [/unhealthy cluster/, 'a member of etcd is away or has just started: try again when all of them are up'],
  [/too many learner/, 'another server is joining at this moment: try again when it has'],
  [/not enough started members/, 'the others would have no majority: start the servers that are down first'],
];
