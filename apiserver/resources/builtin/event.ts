// Events: one stored object, served as v1 (the stored form) and as events.k8s.io/v1, whose fields have other names.
import type { StructuralSchema } from '../../schema/structural.ts';
import type { Resource, StoredObject } from '../resource.ts';
import { defineBuiltin } from './define.ts';

const TTL_SECONDS = 3600;

const INVOLVED = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'] as const;

type Fields = Record<string, unknown>;

/** v1 Event. */
export function eventResource(schema: StructuralSchema): Resource {
  return defineBuiltin({
    group: '',
    version: 'v1',
    kind: 'Event',
    plural: 'events',
    shortNames: ['ev'],
    namespaced: true,
    ttlSeconds: TTL_SECONDS,
    schema,
    selectableFieldNames: [
      ...INVOLVED.map((field) => `involvedObject.${field}`),
      'reason',
      'type',
      'reportingComponent',
      'source',
    ],
    selectableFields: (object) => ({
      ...Object.fromEntries(
        INVOLVED.map((field) => [
          `involvedObject.${field}`,
          text((object['involvedObject'] as Fields | undefined)?.[field]),
        ]),
      ),
      reason: text(object['reason']),
      type: text(object['type']),
      reportingComponent: text(object['reportingComponent']),
      source: text((object['source'] as Fields | undefined)?.['component'] ?? object['reportingComponent']),
    }),
    validate(object) {
      const namespace = (object['involvedObject'] as Fields | undefined)?.['namespace'];
      const own = object.metadata.namespace;
      if (namespace === own || (!namespace && own === 'default')) return [];
      const detail = 'does not match event.namespace';
      return [{ type: 'FieldValueInvalid', field: 'involvedObject.namespace', value: namespace ?? '', detail }];
    },
  });
}

/** events.k8s.io/v1 Event. */
export function newEventResource(schema: StructuralSchema): Resource {
  return defineBuiltin({
    group: 'events.k8s.io',
    version: 'v1',
    kind: 'Event',
    plural: 'events',
    shortNames: ['ev'],
    namespaced: true,
    ttlSeconds: TTL_SECONDS,
    stored: { group: '', plural: 'events' },
    fromStored: toNewEvent,
    toStored: toCoreEvent,
    schema,
    selectableFieldNames: [...INVOLVED.map((field) => `regarding.${field}`), 'reason', 'type', 'reportingController'],
    selectableFields: (object) => ({
      ...Object.fromEntries(
        INVOLVED.map((field) => [`regarding.${field}`, text((object['regarding'] as Fields | undefined)?.[field])]),
      ),
      reason: text(object['reason']),
      type: text(object['type']),
      reportingController: text(object['reportingController']),
    }),
  });
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Core field -> field of events.k8s.io. */
const RENAMED = {
  involvedObject: 'regarding',
  message: 'note',
  reportingComponent: 'reportingController',
  source: 'deprecatedSource',
  firstTimestamp: 'deprecatedFirstTimestamp',
  lastTimestamp: 'deprecatedLastTimestamp',
  count: 'deprecatedCount',
} as const;

/** The stored form in the words of events.k8s.io/v1. */
export function toNewEvent(object: StoredObject): StoredObject {
  const served: StoredObject = { ...object, apiVersion: 'events.k8s.io/v1' };
  for (const [core, renamed] of Object.entries(RENAMED)) {
    if (served[core] !== undefined) served[renamed] = served[core];
    delete served[core];
  }
  return served;
}

/** The inverse of toNewEvent(). */
export function toCoreEvent(object: StoredObject): StoredObject {
  const stored: StoredObject = { ...object, apiVersion: 'v1' };
  for (const [core, renamed] of Object.entries(RENAMED)) {
    if (stored[renamed] !== undefined) stored[core] = stored[renamed];
    delete stored[renamed];
  }
  return stored;
}
