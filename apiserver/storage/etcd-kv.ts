// The calls that are made for every request, without the client library in between: of a write's processor time in this
// server a third was that library's. The words of messages are the library's, so that callers see one client.
import { connect as connectSocket, isIP } from 'node:net';
import { connect as connectTls, createSecureContext } from 'node:tls';
import { fileURLToPath } from 'node:url';
import type { Etcd3 } from 'etcd3';
import { createGrpcChannel, type GrpcChannel, type GrpcTarget, type KeepAlive } from '../../lib/grpc/client.ts';
import { GrpcError, nameOfCode } from '../../lib/grpc/codes.ts';
import { describeService, loadProtos } from '../../lib/grpc/describe-service.ts';
import type { EtcdTls } from './etcd-client.ts';
import type { MemberPolicies } from './etcd-hosts.ts';

/** What of etcd's service KV is used, as etcd3 types it. */
export type EtcdKv = Pick<Etcd3['kv'], 'range' | 'put' | 'txn' | 'compact'>;

export interface EtcdKvOptions {
  /** URLs of the members. */
  readonly hosts: readonly string[];
  readonly tls?: EtcdTls | undefined;
  readonly timeoutMs: number;
  readonly keepAlive: KeepAlive;
  /** Which member is asked, and when another one. */
  readonly policies: MemberPolicies;
}

interface Member {
  readonly policy: ReturnType<MemberPolicies['host']>;
  readonly channel: GrpcChannel;
}

/** Lists of 10,000 objects are far above gRPC's default of 4 MB. */
const MAX_MESSAGE_BYTES = 2 ** 31;

/** Connects lazily. A failed call rejects with an Error whose message begins with its code, as in `14 UNAVAILABLE: ...`. */
export function createEtcdKv({ hosts, tls, timeoutMs, keepAlive, policies }: EtcdKvOptions): EtcdKv & Disposable {
  const members = hosts.map((host) => ({
    policy: policies.host(host),
    channel: createGrpcChannel({ connect: connectorTo(host, tls), maxMessageBytes: MAX_MESSAGE_BYTES, keepAlive }),
  }));
  const root = loadProtos([fileURLToPath(new URL('proto/etcd.proto', import.meta.url))], { keepCase: true });
  // 64-bit numbers as text, as etcd3 has them.
  const service = describeService(root, 'etcdserverpb.KV', { longs: String, enums: String, defaults: true });

  const ask = <T>(name: string, message: object): Promise<T> => {
    const method = service[name];
    if (!method) throw new Error(`the service KV has no call ${name}`);
    const turns = turnsOf(members);
    return policies.global.execute(() =>
      askOne(turns, members.length, async ({ channel }) => {
        try {
          return (await channel.call({ method, message, timeoutMs })) as T;
        } catch (error) {
          if (!(error instanceof GrpcError)) throw error;
          throw new Error(`${error.code} ${nameOfCode(error.code)}: ${error.message}`, { cause: error });
        }
      }),
    );
  };
  return {
    range: (message) => ask('Range', message),
    put: (message) => ask('Put', message),
    txn: (message) => ask('Txn', message),
    compact: (message) => ask('Compact', message),
    [Symbol.dispose]() {
      for (const { channel } of members) channel[Symbol.dispose]();
    },
  };
}

/** Asks the first whose turn it is and whose policy lets it be asked; rejects as that does, or as the last that did not. */
async function askOne<T>(
  turns: Iterator<Member, never>,
  count: number,
  call: (member: Member) => Promise<T>,
): Promise<T> {
  for (let left = count; ; left -= 1) {
    const member = turns.next().value;
    let isAsked = false;
    try {
      return await member.policy.execute(() => {
        isAsked = true;
        return call(member);
      });
    } catch (error) {
      if (isAsked || left <= 1) throw error;
    }
  }
}

/** All members over and over, from a random one on. */
function* turnsOf(members: readonly Member[]): Generator<Member, never> {
  for (let index = Math.floor(Math.random() * members.length); ; index += 1) {
    yield members[index % members.length] as Member;
  }
}

function connectorTo(url: string, tls: EtcdTls | undefined): GrpcTarget['connect'] {
  const { protocol, hostname, port: given } = new URL(url);
  const host = hostname.replaceAll(/^\[|\]$/g, '');
  const isPlain = protocol === 'http:';
  const port = given === '' ? (isPlain ? 80 : 443) : Number(given);
  if (isPlain) return () => connectSocket({ host, port, noDelay: true });
  const secureContext = createSecureContext(tls);
  // An address is no name to be served by (RFC 6066, 3); the certificate is checked against it all the same.
  const servername = isIP(host) === 0 ? host : '';
  return () => connectTls({ host, port, servername, secureContext, ALPNProtocols: ['h2'] }).setNoDelay(true);
}
