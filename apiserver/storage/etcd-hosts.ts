// Which member of the etcd cluster is asked: any that answers. Clients take one at random for each call; here a call
// that could not be sent goes to the next, and one that was lost in silence keeps later ones away from its member.
import type { IOptions } from 'etcd3';
import { messageOf } from '../../lib/errors.ts';
import { NOT_CONNECTED } from '../../lib/grpc/codes.ts';

type FaultHandling = NonNullable<IOptions['faultHandling']>;
type Policy = NonNullable<FaultHandling['global']>;
/** What etcd3 runs its calls by, and etcd-kv.ts likewise: `global` a whole call, `host` an attempt at that member. */
export interface MemberPolicies {
  readonly host: (host: string) => Policy;
  readonly global: Policy;
}
type Run<T> = (context: { signal: AbortSignal }) => PromiseLike<T> | T;

/** How long a member that did not answer is passed by, as long as there is another one. */
const AVOID_MS = 5_000;

const toPolicy = (execute: <T>(run: Run<T>) => Promise<T>): Policy => ({ execute }) as unknown as Policy;
const call = async <T>(run: Run<T>): Promise<T> => run({ signal: new AbortController().signal });

/** gRPC says so when there is no connection to send it on: even a write cannot have happened. */
const wasNeverSent = (error: unknown): boolean => messageOf(error).includes(NOT_CONNECTED);
const wasLost = (error: unknown): boolean => /DEADLINE_EXCEEDED|Deadline exceeded|UNAVAILABLE/i.test(messageOf(error));

/**
 * The fault handling for these members. Nothing is sent twice: what a member may have had is the caller's to repeat. A
 * member is passed by only while another one is not, so that nobody waits when all of them were away.
 */
export function askAnyMember(hosts: readonly string[], now: () => number = () => performance.now()): MemberPolicies {
  const avoidUntil = new Map<string, number>();
  const isAvoided = (host: string): boolean => (avoidUntil.get(host) ?? 0) > now();
  // The client names them without the protocol.
  const names = hosts.map((host) => host.replace(/^https?:\/\//, ''));
  return {
    host: (given) => {
      const name = given.replace(/^https?:\/\//, '');
      return toPolicy(async (run) => {
        if (isAvoided(name) && names.some((other) => !isAvoided(other)))
          throw new Error(`${name} did not answer before`);
        try {
          return await call(run);
        } catch (error) {
          if (wasLost(error)) avoidUntil.set(name, now() + AVOID_MS);
          throw error;
        }
      });
    },
    global: toPolicy(async (run) => {
      for (let left = hosts.length - 1; ; left -= 1) {
        try {
          return await call(run);
        } catch (error) {
          if (left <= 0 || !wasNeverSent(error)) throw error;
        }
      }
    }),
  };
}
