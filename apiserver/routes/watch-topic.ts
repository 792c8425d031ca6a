// Which events a watch can have an interest in, by one look at each event for all watches of the same kind.
import type { Resource } from '../resources/resource.ts';
import type { Entry, EventIndex, StoreEvent, WatchTopic } from '../storage/resource-store.ts';
import type { Call } from './call.ts';
import { parseFieldSelector } from './selectors.ts';
import { isServed, serve } from './served.ts';

const indexes = new WeakMap<Resource, Map<string, EventIndex>>();

/** The value of what is not filed by a field. */
const ANY = '';

/**
 * The topic of a watch: the value of the first field that its selector wants equal, where there is one; else, of a view
 * that leaves objects or changes out, everything that it shows. Empty for a watch that has to look at every event.
 */
export function topicOf({ resource, path, query }: Call): { topic?: WatchTopic } {
  const text = [query.get('fieldSelector') || '', path.name === '' ? '' : `metadata.name=${path.name}`]
    .filter(Boolean)
    .join(',');
  const { equal, name } = text === '' ? {} : parseFieldSelector(text, resource);
  if (equal) return { topic: { index: indexOf(resource, equal.field), value: equal.value } };
  if (name !== undefined) return { topic: { index: indexOf(resource, NAME), value: name } };
  const isPartial = resource.isServed !== undefined || resource.hidesUnchanged === true;
  return isPartial ? { topic: { index: indexOf(resource, ANY), value: ANY } } : {};
}

const NAME = 'metadata.name';

/** One index per resource and field, so that all watches by a field share it. */
function indexOf(resource: Resource, field: string): EventIndex {
  const byField = indexes.get(resource) ?? new Map<string, EventIndex>();
  indexes.set(resource, byField);
  let index = byField.get(field);
  if (!index) byField.set(field, (index = createIndex(resource, valueReader(resource, field))));
  return index;
}

function valueReader(resource: Resource, field: string): (entry: Entry) => string {
  if (field === ANY) return () => ANY;
  if (field === NAME) return (entry) => entry.name;
  return (entry) => resource.selectableFields?.(serve(resource, entry).object)[field] ?? '';
}

function createIndex(resource: Resource, valueOf: (entry: Entry) => string): EventIndex {
  const valuesOf = ({ type, entry, previous }: StoreEvent): readonly string[] => {
    const states = type === 'DELETED' ? [previous ?? entry] : previous ? [entry, previous] : [entry];
    const [first, second] = states.filter((each) => isServed(resource, each));
    if (first === undefined) return [];
    if (second === undefined) return [valueOf(first)];
    // Of what is being deleted each version counts: nodes tell one another as of which one they know it.
    const isLeaving = first.object.metadata.deletionTimestamp !== undefined;
    if (resource.hidesUnchanged && !isLeaving && isSame(resource, first, second)) return [];
    const [is, was] = [valueOf(first), valueOf(second)];
    return is === was ? [is] : [is, was];
  };
  // Several watches may ask about the same past event; of live ones each is asked about once.
  const known = new WeakMap<StoreEvent, readonly string[]>();
  return {
    valuesOf(event) {
      let values = known.get(event);
      if (!values) known.set(event, (values = valuesOf(event)));
      return values;
    },
  };
}

/** Whether a view shows the same of both, but for the version. */
function isSame(resource: Resource, a: Entry, b: Entry): boolean {
  return textOf(resource, a) === textOf(resource, b);
}

function textOf(resource: Resource, entry: Entry): string {
  const { object } = serve(resource, entry);
  const { resourceVersion: _, ...metadata } = object.metadata;
  return JSON.stringify({ ...object, metadata });
}
