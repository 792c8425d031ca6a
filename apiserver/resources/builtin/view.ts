// What the views of one stored kind by another have in common.
import type { ObjectMeta } from '../../../crds/kind.ts';

/** What tells an object and its end; of what people write beside it nothing. */
export function viewMetadata({
  name,
  namespace,
  uid,
  resourceVersion,
  creationTimestamp,
  deletionTimestamp,
}: ObjectMeta): ObjectMeta {
  return { name, ...defined({ namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp }) };
}

/** `fields` without those that are undefined. */
export function defined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
