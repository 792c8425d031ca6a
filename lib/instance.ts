// Names and paths of one windlass instance. Nothing on the host outside the two folders and these names is ours, so
// that several instances can share a machine and every kernel object can be traced to its owner.
import { createHash } from 'node:crypto';
import { join } from 'node:path';

export const DEFAULT_HOME = '/var/lib/windlass';
export const DEFAULT_RUN = '/run/windlass';

export interface Instance {
  /** Eight hex digits, derived from the state folder's path: the same folder is the same instance. */
  readonly id: string;
  /** State folder: survives a reboot. */
  readonly home: string;
  /** Run folder: sockets, bundles, netns pins; gone after a reboot. */
  readonly run: string;
}

/** The instance that owns the state folder `home` (absolute path) and run folder `run`. */
export function describeInstance(home: string, run: string): Instance {
  return { id: shortHash(home, 8), home, run };
}

/** The first `length` hex digits of SHA-256 of `text`: a stable short name for kernel objects. */
export function shortHash(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

/** Kernel names; link names must stay within IFNAMSIZ - 1 = 15 characters. */
export const kernelNames = {
  nftTable: (instance: Instance): string => `windlass-${instance.id}`,
  cgroupParent: (instance: Instance): string => `/windlass-${instance.id}`,
  /** Prefix of every link of the instance on the host, e.g. `wl1a2b-`. */
  linkPrefix: (instance: Instance): string => `wl${instance.id.slice(0, 4)}-`,
  bridge: (instance: Instance, networkId: string): string => `wl${instance.id.slice(0, 4)}-b${shortHash(networkId, 7)}`,
  vxlan: (instance: Instance, networkId: string): string => `wl${instance.id.slice(0, 4)}-x${shortHash(networkId, 7)}`,
  /** The device that encrypts what goes between nodes. */
  tunnel: (instance: Instance): string => `wl${instance.id.slice(0, 4)}-wg`,
  veth: (instance: Instance, endpointId: string): string => `wl${instance.id.slice(0, 4)}-v${shortHash(endpointId, 7)}`,
} as const;

/** Where things are below the two folders. */
export const paths = {
  pki: (instance: Instance): string => join(instance.home, 'pki'),
  adminKubeconfig: (instance: Instance): string => join(instance.home, 'admin.kubeconfig'),
  etcdData: (instance: Instance): string => join(instance.home, 'etcd'),
  /** A store that is being recovered, before it takes the place of the other. */
  etcdRecovered: (instance: Instance): string => join(instance.home, 'etcd.recovered'),
  /** Copies of the embedded etcd. */
  etcdSnapshots: (instance: Instance): string => join(instance.home, 'etcd-snapshots'),
  logs: (instance: Instance): string => join(instance.home, 'logs'),
  /** OCI image layout: blobs/, index.json, oci-layout. */
  content: (instance: Instance): string => join(instance.home, 'content'),
  /** The built-in registry: repositories, and a content store of its own. */
  registry: (instance: Instance): string => join(instance.home, 'registry'),
  /** Unpacked layers by chain id, and the writable layers of containers. */
  snapshots: (instance: Instance): string => join(instance.home, 'snapshots'),
  /** Compiled code of worker threads; Node fills it and checks what it finds. */
  compileCache: (instance: Instance): string => join(instance.home, 'compile-cache'),
  /** See createStandInLibrary(); not in the run folder, from which nothing may be executed on many hosts. */
  standInLibrary: (instance: Instance): string => join(instance.home, 'lib', 'libsystemd.so.0'),
  volumes: (instance: Instance): string => join(instance.home, 'volumes'),
  /** CRI log files: pods/<namespace>_<name>_<uid>/<container>/<attempt>.log */
  podLogs: (instance: Instance): string => join(instance.home, 'pods'),
  /** Of the builder: what lasts. */
  builder: (instance: Instance): string => join(instance.home, 'builder'),
  /** Logs of builds: builds/<namespace>_<name>_<uid>/build/<attempt>.log */
  buildLogs: (instance: Instance): string => join(instance.home, 'builds'),
  /** Archives that are being received. */
  uploads: (instance: Instance): string => join(instance.home, 'agent', 'uploads'),
  criSocket: (instance: Instance): string => join(instance.run, 'cri.sock'),
  /** Records of sandboxes and containers that outlive the shim but not a reboot. */
  shimState: (instance: Instance): string => join(instance.run, 'shim'),
} as const;
