// Lists and their pages: from memory whenever memory still shows the revision asked for, else from etcd's history.
import { setImmediate as turn } from 'node:timers/promises';
import { isExpired, WindlassError } from '../../lib/errors.ts';
import { mapSlices, SLICE } from '../../lib/slices.ts';
import type { CollectionName } from '../resources/resource.ts';
import { prefixEnd, type CacheFeed } from './cache-feed.ts';
import { decodeContinue, encodeContinue } from './continue-token.ts';
import { presentEntries } from './collection-cache.ts';
import { collectionKey, createEntry, objectKey, parseKey } from './entry.ts';
import type { EtcdCaller } from './etcd-client.ts';
import type { RevisionReader } from './read-revision.ts';
import type { Entry, ListOptions, ListResult } from './resource-store.ts';

export const EXPIRED_CONTINUE =
  'The provided continue parameter is too old to display a consistent list result. You can start a new list without ' +
  'the continue parameter, or use the continue token in this response to retrieve the remainder of the results. ' +
  'Continuing with the provided token results in an inconsistent list - objects that were created, modified, or ' +
  'deleted between the time the first chunk was returned and now may show up in the list.';

export const EXPIRED_LIST = 'The resourceVersion for the provided list is too old.';

interface ListDeps {
  readonly call: EtcdCaller;
  readonly feed: CacheFeed;
  readonly prefix: string;
  readonly reader: RevisionReader;
}

/** ResourceStore.list(). */
export async function listEntries(
  deps: ListDeps,
  collection: CollectionName,
  options: ListOptions,
): Promise<ListResult> {
  const { feed, reader } = deps;
  const cache = feed.collection(collectionKey(collection));
  const scope = options.namespace ? `${options.namespace}/` : '';
  const token = options.continueToken ? decodeContinue(options.continueToken) : undefined;
  const exact = token ? (token.revision > 0 ? token.revision : undefined) : options.revision;
  const wantsExact = (token !== undefined && exact !== undefined) || options.match === 'Exact';

  await reader.fresh(exact === undefined ? {} : { revision: exact });
  if (!wantsExact || exact === undefined || cache.lastRevision <= exact) {
    const revision = wantsExact && exact !== undefined ? exact : feed.revision;
    return page(presentEntries(cache, { ...options, after: token?.after }), revision, options);
  }
  try {
    return await page(
      await readHistory(deps, collection, scope, { revision: exact, after: token?.after }),
      exact,
      options,
    );
  } catch (error) {
    if (!isExpired(error)) throw error;
    if (!token) throw new WindlassError('Expired', EXPIRED_LIST, { cause: error });
    throw new WindlassError('Expired', EXPIRED_CONTINUE, {
      details: { continueToken: encodeContinue({ revision: -1, after: token.after }) },
      cause: error,
    });
  }
}

async function page(
  found: readonly Entry[],
  revision: number,
  { limit = 0, filter }: ListOptions,
): Promise<ListResult> {
  if (limit <= 0 || (!filter && found.length <= limit)) {
    const kept = filter ? await mapSlices(found, (slice) => slice.filter(filter)) : [found];
    return { entries: kept.length === 1 ? (kept[0] as readonly Entry[]) : kept.flat(), revision };
  }
  const entries: Entry[] = [];
  let index = 0;
  while (index < found.length && entries.length < limit) {
    const entry = found[index] as Entry;
    if (!filter || filter(entry)) entries.push(entry);
    index += 1;
    if (filter && index % SLICE === 0) await turn();
  }
  const last = found[index - 1];
  if (index >= found.length || !last) return { entries, revision };
  const continueToken = encodeContinue({ revision, after: objectKey(last.namespace, last.name) });
  return { entries, revision, continueToken, ...(filter ? {} : { remaining: found.length - index }) };
}

async function readHistory(
  { call, prefix }: ListDeps,
  collection: CollectionName,
  scope: string,
  { revision, after }: { revision: number; after: string | undefined },
): Promise<Entry[]> {
  const root = `${prefix}registry/`;
  const start = `${root}${collectionKey(collection)}/`;
  const key = after ? Buffer.from(`${start}${after}\0`) : Buffer.from(start + scope);
  const { kvs } = await call('list', (etcd) =>
    etcd.kv.range({ key, range_end: prefixEnd(start + scope), revision: String(revision) }),
  );
  return kvs.flatMap((kv) => {
    const parsed = parseKey(kv.key.toString().slice(root.length));
    return parsed ? [createEntry(parsed.namespace, parsed.name, Number(kv.mod_revision), kv.value)] : [];
  });
}
