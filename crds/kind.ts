// What a kind is made of: the descriptor that the CRD generator, the API server's built-ins and the client share.
import type { z } from 'zod';

export const GROUP = 'windlass.dev';
export const VERSION = 'v1';

/** metav1.ObjectMeta, the fields windlass reads or writes. Times are RFC 3339 strings. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  generateName?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  managedFields?: unknown[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

export interface Condition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason: string;
  message: string;
  lastTransitionTime: string;
  observedGeneration?: number;
}

/** One column of `kubectl get`; priority 1 shows with -o wide only. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'date';
  readonly jsonPath: string;
  readonly description?: string;
  readonly format?: string;
  readonly priority?: number;
}

/** Names a kind goes by and the path it is served under. */
export interface KindName {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

/** A kind that windlass brings as a CRD. `T` is the whole object with spec and status. */
export interface CustomKind<T extends KubernetesObject = KubernetesObject> extends KindName {
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly description: string;
  readonly spec: z.ZodObject;
  readonly status: z.ZodObject;
  /** True when an object without spec is complete: the server fills in an empty one, and then its defaults. */
  readonly specOptional?: boolean;
  /** CEL rules across fields of spec (x-kubernetes-validations on .spec) */
  readonly specRules: readonly { readonly rule: string; readonly message: string; readonly fieldPath?: string }[];
  readonly columns: readonly PrinterColumn[];
  readonly scale?: {
    readonly specReplicasPath: string;
    readonly statusReplicasPath: string;
    readonly labelSelectorPath: string;
  };
  readonly selectableFields?: readonly string[];
  /** Never set: carries the object's type for the client. */
  readonly type?: T;
}

export const apiVersionOf = (kind: KindName): string =>
  kind.group === '' ? kind.version : `${kind.group}/${kind.version}`;
