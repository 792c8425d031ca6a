// Objects as the store keeps them. metadata.resourceVersion is never stored: it is the revision of the write, known
// only afterwards, so it is spliced into the bytes when they are read. Nothing is parsed for that.
import { WindlassError } from '../../lib/errors.ts';
import type { CollectionName, StoredObject } from '../resources/resource.ts';
import type { Entry } from './resource-store.ts';

const METADATA = Buffer.from('"metadata":{');

/** The bytes to store for `object`: apiVersion, kind and metadata first (the splice relies on it), no revision. */
export function encodeObject(object: StoredObject): Buffer {
  const { apiVersion, kind, metadata, ...rest } = object;
  const { resourceVersion: _revision, ...kept } = metadata;
  return Buffer.from(JSON.stringify({ apiVersion, kind, metadata: kept, ...rest }));
}

/** The entry stored as `value` by a write at `revision`. */
export function createEntry(namespace: string, name: string, revision: number, value: Buffer): Entry {
  const at = value.indexOf(METADATA);
  if (at < 0) throw new WindlassError('Internal', `stored object ${namespace}/${name} has no metadata`);
  const start = at + METADATA.length;
  const bytes = Buffer.concat([value.subarray(0, start), Buffer.from(revisionText(revision)), value.subarray(start)]);
  return entryOfBytes(namespace, name, revision, bytes);
}

const revisionText = (revision: number): string => `"resourceVersion":"${revision}",`;

/**
 * Whether `value` can be what `entry` holds. What is equal is of one length, whatever the order of its keys: most changes
 * are told by that alone.
 */
export const hasLengthOf = ({ bytes, revision }: Entry, value: Buffer): boolean =>
  bytes.length === value.length + revisionText(revision).length;

/** The same entry as seen at a later revision: its last state in a DELETED event. */
export function entryAtRevision(entry: Entry, revision: number): Entry {
  const object = entry.clone();
  object.metadata.resourceVersion = String(revision);
  return entryOfBytes(entry.namespace, entry.name, revision, Buffer.from(JSON.stringify(object)));
}

function entryOfBytes(namespace: string, name: string, revision: number, bytes: Buffer): Entry {
  let parsed: StoredObject | undefined;
  const clone = (): StoredObject => JSON.parse(bytes.toString()) as StoredObject;
  return {
    namespace,
    name,
    revision,
    bytes,
    get object() {
      parsed ??= clone();
      return parsed;
    },
    clone,
    release() {
      parsed = undefined;
    },
  };
}

/** Keys below the store's prefix: `registry/<group or core>/<plural>/[<namespace>/]<name>`. */
export function collectionKey(collection: CollectionName): string {
  return `${collection.group === '' ? 'core' : collection.group}/${collection.plural}`;
}

export function objectKey(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

export interface ParsedKey {
  readonly collection: string;
  readonly namespace: string;
  readonly name: string;
}

/** The inverse, for a key with `<prefix>/registry/` removed; undefined for a key of another shape. */
export function parseKey(key: string): ParsedKey | undefined {
  const parts = key.split('/');
  const [group, plural, first, second] = parts;
  if (!group || !plural || !first || parts.length > 4) return undefined;
  const collection = `${group}/${plural}`;
  return second === undefined
    ? { collection, namespace: '', name: first }
    : { collection, namespace: first, name: second };
}
