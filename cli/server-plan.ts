// The control plane of `up` and `server`: its certificates, its etcd's ports, and how others reach it.
import { formatHostPort, parseHostPort } from '../lib/host-port.ts';
import type { Instance } from '../lib/instance.ts';
import { firstOwnAddress } from '../lib/node-address.ts';
import { refuseJoinedHome } from './join/joined.ts';
import type { ServerOptions } from './options.ts';
import { ensurePki, type PkiOptions } from './pki.ts';
import { chooseEtcdPorts, type EtcdPorts } from './ports.ts';

export interface ControlPlane {
  /** Of the administrator. */
  readonly kubeconfig: string;
  readonly url: string;
  readonly etcdPorts: EtcdPorts | undefined;
}

/** Makes what a control plane needs before it starts. Throws Conflict in the folder of a node that has joined another. */
export async function prepareControlPlane(
  instance: Instance,
  { listen, advertise, etcdServers }: Pick<ServerOptions, 'listen' | 'advertise' | 'etcdServers'>,
  node?: PkiOptions['node'],
): Promise<ControlPlane> {
  refuseJoinedHome(instance);
  const kubeconfig = await ensurePki(instance, {
    listen,
    now: Date.now(),
    ...(advertise === undefined ? {} : { advertise }),
    ...(node ? { node } : {}),
  });
  const etcdPorts = etcdServers === undefined ? await chooseEtcdPorts(instance) : undefined;
  return { kubeconfig, url: advertisedUrl(listen, advertise), etcdPorts };
}

/** The URL by which other machines reach an API server that listens at `listen`. */
export function advertisedUrl(listen: string, advertise?: string): string {
  const { host, port } = parseHostPort(listen);
  const isAny = host === '0.0.0.0' || host === '::';
  return `https://${formatHostPort({ host: advertise ?? (isAny ? firstOwnAddress() : host), port })}`;
}
