// Entries as a resource serves them. Most are served as they are stored; versions and views convert, once per entry.
import { apiVersionOf } from '../resources/registry.ts';
import type { Resource, StoredObject } from '../resources/resource.ts';
import { applyDefaults, hasDefaults } from '../schema/defaults.ts';
import type { Entry } from '../storage/resource-store.ts';

/** The served form: object and its JSON. */
export interface Served {
  readonly namespace: string;
  readonly name: string;
  readonly revision: number;
  readonly object: StoredObject;
  readonly bytes: Buffer;
}

const converted = new WeakMap<Resource, WeakMap<Entry, Served>>();

/** `entry` in the form of `resource`. The result is shared: read-only. */
export function serve(resource: Resource, entry: Entry): Served {
  const { stored, fromStored } = resource;
  if (!stored && !fromStored && !completesOnRead(resource)) return entry;
  let known = converted.get(resource);
  if (!known) converted.set(resource, (known = new WeakMap<Entry, Served>()));
  let served = known.get(entry);
  if (!served) {
    known.set(entry, (served = convert(resource, entry)));
  }
  return served;
}

const completing = new WeakMap<Resource, boolean>();

/** Objects may be older than a default of their CRD: it is filled in when they are read, as upstream does. */
function completesOnRead(resource: Resource): boolean {
  let known = completing.get(resource);
  if (known === undefined) completing.set(resource, (known = resource.custom && hasDefaults(resource.schema)));
  return known;
}

function convert(resource: Resource, entry: Entry): Served {
  const apiVersion = apiVersionOf(resource);
  const { fromStored } = resource;
  const object = fromStored ? fromStored(entry.object) : { ...entry.clone(), apiVersion };
  const isCompleted = completesOnRead(resource) && applyDefaults(resource.schema, object);
  // What is served as it is stored shares the bytes of the store.
  if (!fromStored && !isCompleted && entry.object.apiVersion === apiVersion) return entry;
  return {
    namespace: entry.namespace,
    name: entry.name,
    revision: entry.revision,
    object,
    bytes: Buffer.from(JSON.stringify(object)),
  };
}

/** A private copy of the served form, to be changed. */
export function cloneServed(served: Served): StoredObject {
  return JSON.parse(served.bytes.toString()) as StoredObject;
}

/** Whether `resource` shows this entry at all. */
export function isServed(resource: Resource, entry: Entry): boolean {
  return resource.isServed ? resource.isServed(entry.object) : true;
}

/** The form to store an object of `resource` in. */
export function toStoredForm(resource: Resource, object: StoredObject): StoredObject {
  return resource.toStored ? resource.toStored(object) : object;
}

/** Views can be read and their objects deleted, nothing else. */
export function isView(resource: Resource): boolean {
  return resource.fromStored !== undefined && resource.toStored === undefined;
}
