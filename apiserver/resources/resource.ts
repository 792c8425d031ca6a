// What the server knows of one served resource. Built-in kinds and CRDs both end up as this, and every generic part
// (routes, discovery, OpenAPI, Table) reads nothing else.
import type { KubernetesObject, PrinterColumn } from '../../crds/kind.ts';
import type { FieldError } from '../schema/field-error.ts';
import type { User } from '../auth/user.ts';
import type { StructuralSchema } from '../schema/structural.ts';

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection';

/** Who asks and how; passed to every hook of a resource. */
export interface RequestContext {
  readonly user: User;
  readonly subresource?: string;
  readonly dryRun: boolean;
  /** Milliseconds since the epoch at which the request is handled. */
  readonly now: number;
}

export interface ScalePaths {
  readonly specReplicasPath: string;
  readonly statusReplicasPath: string;
  readonly labelSelectorPath?: string;
}

/** An object as stored and served: metadata is known, the rest is data. */
export type StoredObject = KubernetesObject & Record<string, unknown>;

/** Where a resource's objects are kept; several resources (versions of one CRD, a view) may share one. */
export interface CollectionName {
  readonly group: string;
  readonly plural: string;
}

export interface Resource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly listKind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  readonly verbs: readonly Verb[];
  /** True for kinds that came from a CustomResourceDefinition: strategic merge is refused (415). */
  readonly custom: boolean;
  /** Said in a Warning header of every answer. */
  readonly deprecation?: string;
  /** Its definition is being deleted and takes its objects along: nothing new may be created. */
  readonly isTerminating?: boolean;
  /** OpenAPI v3 structural schema of the whole object, used for pruning, defaults, validation and publishing. */
  readonly schema: StructuralSchema;
  readonly columns: readonly PrinterColumn[];
  /** The status subresource: the main path ignores status, the status path ignores all else. */
  readonly status: boolean;
  readonly scale?: ScalePaths;
  /** Further subresources for discovery, e.g. `log` of pods: name -> kind and verbs. */
  readonly subresources?: readonly {
    readonly name: string;
    readonly kind: string;
    readonly group?: string;
    readonly version?: string;
    readonly verbs: readonly string[];
  }[];
  /** Values for field selectors beyond metadata.name and metadata.namespace; absent = none. */
  readonly selectableFields?: (object: StoredObject) => Record<string, string>;
  /** The names of the fields above, to refuse others with 400. */
  readonly selectableFieldNames?: readonly string[];
  /** Cells of `kubectl get` computed by code where a JSONPath cannot (same order as columns). */
  readonly row?: (object: StoredObject, now: number) => unknown[];
  /** Where the objects are kept when that is not this group and plural: another version of a CRD, a view. */
  readonly stored?: CollectionName;
  /** Stored form to served form; absent = the same. Pure: must not change its argument. */
  readonly fromStored?: (object: StoredObject) => StoredObject;
  /** Served form to stored form. A resource with fromStored alone is a view: deleting works, other writes do not. */
  readonly toStored?: (object: StoredObject) => StoredObject;
  /** Views: a watch hears only of changes that the view shows, not of each change of the stored object. */
  readonly hidesUnchanged?: boolean;
  /** Views: whether a stored object is shown at all; absent = always. */
  readonly isServed?: (object: StoredObject) => boolean;
  /** Seconds after which the store drops an object by itself (Events: 3600). */
  readonly ttlSeconds?: number;
  /** Fills in what a new object lacks and clears what a client may not set. Mutates `object`. */
  readonly prepareForCreate?: (object: StoredObject, context: RequestContext) => void;
  /** The same for an update; keeps what may not change by copying it from `old`. Mutates `object`. */
  readonly prepareForUpdate?: (object: StoredObject, old: StoredObject, context: RequestContext) => void;
  /** Rules beyond the schema. `old` is absent on create. */
  readonly validate?: (object: StoredObject, old: StoredObject | undefined, context: RequestContext) => FieldError[];
  /** CRD resources: the compiled CEL rules of the schema; evaluated after `validate`. */
  readonly rules?: (object: StoredObject, old: StoredObject | undefined) => FieldError[];
}
