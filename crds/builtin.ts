// The built-in kinds windlass uses, in upstream's group and shape, reduced to the fields it reads or writes.
// https://kubernetes.io/docs/reference/kubernetes-api/
import type { KindName, KubernetesObject, ObjectMeta } from './kind.ts';

export interface Namespace extends KubernetesObject {
  spec?: { finalizers?: string[] };
  status?: { phase?: 'Active' | 'Terminating'; conditions?: NamespaceCondition[] };
}
export interface NamespaceCondition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

export interface Secret extends KubernetesObject {
  type?: string;
  /** Values in base64. */
  data?: Record<string, string>;
  immutable?: boolean;
}

export interface ConfigMap extends KubernetesObject {
  data?: Record<string, string>;
  /** Values in base64. */
  binaryData?: Record<string, string>;
  immutable?: boolean;
}

export interface Taint {
  key: string;
  value?: string;
  effect: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
  timeAdded?: string;
}

/** With effect NoExecute: Docker's availability Drain. Pause is spec.unschedulable. */
export const DRAIN_TAINT = 'windlass.dev/drain';

export interface NodeCondition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason: string;
  message: string;
  lastHeartbeatTime?: string;
  lastTransitionTime?: string;
}

export interface Node extends KubernetesObject {
  spec?: { unschedulable?: boolean; taints?: Taint[]; podCIDR?: string };
  status?: {
    capacity?: Record<string, string>;
    allocatable?: Record<string, string>;
    conditions?: NodeCondition[];
    addresses?: { type: string; address: string }[];
    daemonEndpoints?: { kubeletEndpoint: { Port: number } };
    nodeInfo?: Record<string, string>;
    images?: { names: string[]; sizeBytes: number }[];
  };
}

export interface Lease extends KubernetesObject {
  spec?: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

export interface SigningRequestCondition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason?: string;
  message?: string;
  lastUpdateTime?: string;
  lastTransitionTime?: string;
}

/** certificates.k8s.io/v1 CertificateSigningRequest. */
export interface CertificateSigningRequest extends KubernetesObject {
  spec: {
    /** PEM in base64. */
    request: string;
    signerName: string;
    usages: string[];
    expirationSeconds?: number;
    /** Written by the server. */
    username?: string;
    groups?: string[];
  };
  status?: {
    conditions?: SigningRequestCondition[];
    /** PEM in base64. */
    certificate?: string;
  };
}

export interface ObjectReference {
  apiVersion?: string;
  kind?: string;
  namespace?: string;
  name?: string;
  uid?: string;
  resourceVersion?: string;
  fieldPath?: string;
}

/** v1 Event. events.k8s.io/v1 is the same stored object under other field names. */
export interface Event extends KubernetesObject {
  metadata: ObjectMeta;
  involvedObject: ObjectReference;
  reason?: string;
  message?: string;
  type?: 'Normal' | 'Warning';
  source?: { component?: string; host?: string };
  firstTimestamp?: string;
  lastTimestamp?: string;
  count?: number;
  eventTime?: string | null;
  action?: string;
  reportingComponent?: string;
  reportingInstance?: string;
}

export const namespaceKind: KindName = {
  group: '',
  version: 'v1',
  kind: 'Namespace',
  plural: 'namespaces',
  namespaced: false,
};
export const nodeKind: KindName = { group: '', version: 'v1', kind: 'Node', plural: 'nodes', namespaced: false };
export const secretKind: KindName = { group: '', version: 'v1', kind: 'Secret', plural: 'secrets', namespaced: true };
export const configMapKind: KindName = {
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  namespaced: true,
};
export const eventKind: KindName = { group: '', version: 'v1', kind: 'Event', plural: 'events', namespaced: true };
export const signingRequestKind: KindName = {
  group: 'certificates.k8s.io',
  version: 'v1',
  kind: 'CertificateSigningRequest',
  plural: 'certificatesigningrequests',
  namespaced: false,
};
export const leaseKind: KindName = {
  group: 'coordination.k8s.io',
  version: 'v1',
  kind: 'Lease',
  plural: 'leases',
  namespaced: true,
};
