import { mapSlices } from '../../lib/slices.ts';
import { collectionOf } from '../resources/registry.ts';
import type { Entry } from '../storage/resource-store.ts';
import type { Answer, ApiDeps, Call } from './call.ts';
import { renderList } from './render.ts';
import { readOptionsOf } from './request-options.ts';
import { parseFieldSelector, parseLabelSelector, type Predicate } from './selectors.ts';
import { isServed, serve } from './served.ts';

/** GET of a collection. */
export async function handleList(deps: ApiDeps, call: Call): Promise<Answer> {
  const { resource, path, query } = call;
  const predicate = selectorOf(call);
  const filter = entryFilter(call, predicate);
  const result = await deps.store.list(collectionOf(resource), {
    ...readOptionsOf(query),
    ...(path.namespace === '' ? {} : { namespace: path.namespace }),
    ...onlyName(call),
    ...(filter ? { filter } : {}),
  });
  return renderList(call, {
    items: (await mapSlices(result.entries, (slice) => slice.map((entry) => serve(resource, entry)))).flat(),
    revision: result.revision,
    ...(result.continueToken === undefined ? {} : { continueToken: result.continueToken }),
    ...(result.remaining === undefined ? {} : { remaining: result.remaining }),
  });
}

/** The name that the field selector asks for, where name and path make a key. */
export function onlyName({ resource, path, query }: Call): { name?: string } {
  const text = query.get('fieldSelector');
  if (!text || (resource.namespaced && path.namespace === '')) return {};
  const { name } = parseFieldSelector(text, resource);
  return name === undefined ? {} : { name };
}

/** Label and field selector of a call as one predicate; undefined when it has neither. */
export function selectorOf({ resource, path, query }: Call): Predicate | undefined {
  const labels = query.get('labelSelector') || '';
  // A list with a name in its path is upstream's old way to watch one object.
  const fields = [query.get('fieldSelector') || '', path.name === '' ? '' : `metadata.name=${path.name}`];
  const text = fields.filter(Boolean).join(',');
  const byLabel = labels === '' ? undefined : parseLabelSelector(labels);
  const byField = text === '' ? undefined : parseFieldSelector(text, resource).matches;
  if (byLabel && byField) return (object) => byLabel(object) && byField(object);
  return byLabel ?? byField;
}

/** The same for stored entries, with what the resource hides left out. */
export function entryFilter(
  { resource }: Call,
  predicate: Predicate | undefined,
): ((entry: Entry) => boolean) | undefined {
  if (!predicate && !resource.isServed) return undefined;
  return (entry) => isServed(resource, entry) && (!predicate || predicate(serve(resource, entry).object));
}
