// The control plane of `up` and `server`: its certificates, its etcd, and how others reach it.
import { readFileSync } from 'node:fs';
import { keyHashOf } from '../lib/certificate-request.ts';
import { messageOf, WindlassError } from '../lib/errors.ts';
import { formatHostPort, parseHostPort } from '../lib/host-port.ts';
import type { Instance } from '../lib/instance.ts';
import { firstOwnAddress } from '../lib/node-address.ts';
import type { KeyPair } from '../lib/pki.ts';
import { refuseJoinedHome } from './join/joined.ts';
import type { ServerOptions } from './options.ts';
import { describeMember, readMembers, refuseLostMember, refuseOtherName, type EtcdMember } from './etcd-member.ts';
import { ensurePki, type PkiOptions } from './pki.ts';
import { refuseInterrupted } from './recover/interrupted.ts';

export interface ControlPlane {
  /** Of the administrator. */
  readonly kubeconfig: string;
  readonly url: string;
  /** Writes the administrator's kubeconfig anew when the other servers are not those that it names. */
  readonly refresh: () => Promise<void>;
  /** Undefined with servers of somebody else. */
  readonly etcd: EtcdMember | undefined;
}

type ControlPlaneFlags = Pick<
  ServerOptions,
  'listen' | 'advertise' | 'etcdServers' | 'etcdCa' | 'etcdCert' | 'etcdKey' | 'caCert' | 'caKey'
>;

/**
 * Makes what a control plane needs before it starts. Throws Conflict in the folder of a node that has joined another, where a
 * recovery was cut off, and where the store of one of several servers was lost.
 */
export async function prepareControlPlane(
  instance: Instance,
  flags: ControlPlaneFlags,
  node?: PkiOptions['node'],
): Promise<ControlPlane> {
  const { listen, advertise, etcdServers } = flags;
  refuseJoinedHome(instance);
  checkEtcdFlags(flags);
  if (etcdServers === undefined) {
    refuseInterrupted(instance);
    refuseLostMember(instance);
  }
  const authority = readAuthority(flags);
  const etcd = etcdServers === undefined ? await describeMember(instance, flags) : undefined;
  if (etcd) refuseOtherName(instance, etcd);
  let named: readonly string[] = [];
  const prepare = async (): Promise<string> => {
    named = etcd ? otherServers(instance, etcd) : [];
    return ensurePki(instance, {
      listen,
      now: Date.now(),
      ...(advertise === undefined ? {} : { advertise }),
      ...(authority ? { authority } : {}),
      ...(node ? { node } : {}),
      otherServers: named,
      ...(etcd ? { peerHost: new URL(etcd.peerUrl).hostname.replaceAll(/[[\]]/g, '') } : {}),
    });
  };
  const refresh = async (): Promise<void> => {
    if (etcd && otherServers(instance, etcd).join() !== named.join()) await prepare();
  };
  return { kubeconfig: await prepare(), url: advertisedUrl(listen, advertise), refresh, etcd };
}

const otherServers = (instance: Instance, { name }: EtcdMember): string[] =>
  readMembers(instance).flatMap((member) => (member.name === name || member.url === undefined ? [] : [member.url]));

function checkEtcdFlags({ etcdServers, etcdCa, etcdCert, etcdKey }: ControlPlaneFlags): void {
  const isGiven = [etcdCa, etcdCert, etcdKey].some((file) => file !== undefined);
  if (isGiven && etcdServers === undefined) {
    throw new WindlassError('BadRequest', '--etcd-ca, --etcd-cert and --etcd-key belong to --etcd-servers');
  }
  if ((etcdCert === undefined) !== (etcdKey === undefined) || (isGiven && etcdCa === undefined)) {
    throw new WindlassError('BadRequest', 'want --etcd-ca with --etcd-cert and --etcd-key, and these two together');
  }
}

/** The authority that the flags name. Throws BadRequest when it is none, or when the key is not the certificate's. */
function readAuthority({ caCert, caKey, etcdServers }: ControlPlaneFlags): KeyPair | undefined {
  if (caCert === undefined && caKey === undefined) return undefined;
  if (caCert === undefined || caKey === undefined) {
    throw new WindlassError('BadRequest', 'want --ca-cert and --ca-key together');
  }
  if (etcdServers === undefined) {
    throw new WindlassError(
      'BadRequest',
      '--ca-cert and --ca-key are for a further server, which shares --etcd-servers',
    );
  }
  let isPair: boolean;
  let pair: KeyPair;
  try {
    pair = { cert: readFileSync(caCert, 'utf8'), key: readFileSync(caKey, 'utf8') };
    isPair = keyHashOf(pair.cert) === keyHashOf(pair.key);
  } catch (error) {
    throw new WindlassError(
      'BadRequest',
      `cannot read --ca-cert ${caCert} and --ca-key ${caKey}: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
  if (!isPair) throw new WindlassError('BadRequest', `--ca-key ${caKey} is not the key of --ca-cert ${caCert}`);
  return pair;
}

/** The URL by which other machines reach an API server that listens at `listen`. */
export function advertisedUrl(listen: string, advertise?: string): string {
  const { host, port } = parseHostPort(listen);
  const isAny = host === '0.0.0.0' || host === '::';
  return `https://${formatHostPort({ host: advertise ?? (isAny ? firstOwnAddress() : host), port })}`;
}
