// The connection to etcd: raw RPCs with deadlines, timings, and errors in our words. What may have reached a member is not
// repeated here: only the caller knows whether a write that may have happened can be sent again.
import { Etcd3, type ICallable } from 'etcd3';
import { messageOf, WindlassError } from '../../lib/errors.ts';
import { askAnyMember } from './etcd-hosts.ts';
import { createEtcdKv, type EtcdKv } from './etcd-kv.ts';

const CALL_TIMEOUT_MS = 5_000;
/**
 * How long a member may leave a ping unanswered before the next one is asked. Where there is no other one, to hang up helps
 * nobody: when this process, or the machine, has too much to do, answers are read late, and all that is under way would fail.
 */
const PING_EVERY_MS = 10_000;
const SILENCE_MS = 4_000;
const SILENCE_OF_ONE_MS = 20_000;

/**
 * Bytes that etcd may send ahead of what was read, by stream and by connection. With the usual 64 KiB an event loop whose
 * turns take 100 ms gets 640 KB a second, and memory falls behind the store by everything beyond.
 */
const WINDOW_BYTES = 8 * 1024 * 1024;

/** PEM: etcd's authority, and the client certificate and key where etcd asks for one. */
export interface EtcdTls {
  readonly ca: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** The calls to etcd: those of KV are made by the thousand and go a shorter way than those of etcd3. */
export interface EtcdClient extends Pick<Etcd3, 'leaseClient' | 'watchClient' | 'cluster' | 'maintenance'> {
  readonly kv: EtcdKv;
  close(): void;
}

/** Connects lazily to `hosts`; the default policies would stop calling for seconds after three faults. */
export function createEtcdClient(hosts: readonly string[], tls?: EtcdTls): EtcdClient {
  const policies = askAnyMember(hosts);
  const patienceMs = hosts.length > 1 ? SILENCE_MS : SILENCE_OF_ONE_MS;
  const keepAlive = { everyMs: PING_EVERY_MS, patienceMs };
  const kv = createEtcdKv({ hosts, tls, timeoutMs: CALL_TIMEOUT_MS, keepAlive, policies });
  const library = new Etcd3({
    hosts: [...hosts],
    ...(tls && {
      credentials: {
        rootCertificate: tls.ca,
        ...(tls.cert && tls.key && { certChain: tls.cert, privateKey: tls.key }),
      },
    }),
    grpcOptions: {
      // A connection for each service: a snapshot takes all that its connection gives, and must not hold up the watch.
      'grpc.use_local_subchannel_pool': 1,
      'grpc-node.flow_control_window': WINDOW_BYTES,
      // A list of 10,000 objects is far above the default of 4 MB.
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.min_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
      'grpc.keepalive_time_ms': PING_EVERY_MS,
      'grpc.keepalive_timeout_ms': patienceMs,
    },
    defaultCallOptions: (context) => (context.isStream ? {} : { deadline: Date.now() + CALL_TIMEOUT_MS }),
    faultHandling: policies,
  });
  const { leaseClient, watchClient, cluster, maintenance } = library;
  return {
    ...{ kv, leaseClient, watchClient, cluster, maintenance },
    close() {
      kv[Symbol.dispose]();
      library.close();
    },
  };
}

export type EtcdCaller = <T>(operation: string, call: (client: EtcdClient) => Promise<T>) => Promise<T>;

/** Runs `call` against `client`, reports its duration, and translates its failure. */
export function createEtcdCaller(
  client: EtcdClient,
  observe: (operation: string, seconds: number) => void,
): EtcdCaller {
  return async (operation, call) => {
    const start = performance.now();
    try {
      return await call(client);
    } catch (error) {
      throw translateEtcdError(error);
    } finally {
      observe(operation, (performance.now() - start) / 1000);
    }
  };
}

/** etcd's and gRPC's failures as WindlassErrors: Expired for compaction, Timeout, and Unavailable for all that may pass. */
export function translateEtcdError(error: unknown): WindlassError {
  if (error instanceof WindlassError) return error;
  const message = messageOf(error);
  if (/required revision has been compacted/.test(message)) {
    return new WindlassError('Expired', 'the requested revision has been compacted', { cause: error });
  }
  if (/DEADLINE_EXCEEDED|Deadline exceeded/i.test(message)) {
    return new WindlassError(
      'Timeout',
      'the store did not answer in time: are more than half of the etcd members up?',
      { cause: error },
    );
  }
  if (/database space exceeded/.test(message)) {
    return new WindlassError('Internal', 'the store is full: etcdserver: mvcc: database space exceeded', {
      cause: error,
    });
  }
  if (/request is too large|RESOURCE_EXHAUSTED/.test(message)) {
    return new WindlassError('RequestEntityTooLarge', 'the object is too large for the store', { cause: error });
  }
  return new WindlassError('Unavailable', `the store is unavailable: ${message}`, { cause: error });
}

export type { ICallable };
