// The kinds of the core group, but Node and Pod.
import type { StructuralSchema } from '../../schema/structural.ts';
import {
  conditions,
  flag,
  int32,
  keyed,
  kind,
  map,
  object,
  objectReference,
  oneOf,
  text,
  texts,
  textSet,
  time,
} from './fields.ts';

const base64 = { type: 'string', format: 'byte' } as const;
const immutable = flag('When true, the data cannot be changed any more, only the object deleted.');

const eventSource = (description: string): StructuralSchema =>
  object(description, { component: text('Part of the system.'), host: text('Node it runs on.') });
const series = object('How often it happened, when it keeps happening.', {
  count: int32('How often.'),
  lastObservedTime: time('When last.'),
});

/** Schemas by `<group>/<Kind>`. */
export const coreSchemas: Readonly<Record<string, StructuralSchema>> = {
  '/Namespace': kind('Namespace is a room for names: most objects live in one, and go with it.', {
    spec: object('What is wanted.', { finalizers: textSet('Parts that must empty the namespace before it may go.') }),
    status: object('What is observed.', {
      phase: oneOf('Whether it is in use or being emptied.', 'Active', 'Terminating'),
      conditions: conditions(),
    }),
  }),
  '/ConfigMap': kind('ConfigMap holds settings for containers to read.', {
    data: texts('Texts by name.'),
    binaryData: map('Bytes by name, in base64.', base64),
    immutable,
  }),
  '/Secret': kind('Secret holds what must not be seen: passwords, keys, registry credentials.', {
    data: map('Bytes by name, in base64.', base64),
    stringData: texts('Texts by name, for writing: the server moves them to data.'),
    type: text('What the secret is for; Opaque when not said.'),
    immutable,
  }),
  '/ServiceAccount': kind('ServiceAccount is an identity for programs.', {
    secrets: keyed('Secrets that may be used by it.', 'name', objectReference('A secret.')),
    imagePullSecrets: keyed(
      'Registry credentials for images.',
      'name',
      object('A secret.', { name: text('Its name.') }),
    ),
    automountServiceAccountToken: flag('Whether containers get a token.'),
  }),
  '/Event': kind('Event tells what happened to an object. It is kept for an hour.', {
    involvedObject: objectReference('The object it happened to.'),
    related: objectReference('A second object that plays a part.'),
    reason: text('What happened, in one CamelCase word.'),
    message: text('What happened, as a sentence.'),
    source: eventSource('Who saw it.'),
    firstTimestamp: time('When it happened first.'),
    lastTimestamp: time('When it happened last.'),
    count: int32('How often it happened.'),
    type: text('Normal or Warning.'),
    eventTime: time('When it happened.'),
    series,
    action: text('What was done about it.'),
    reportingComponent: text('Name of the controller that saw it.'),
    reportingInstance: text('Which instance of the controller.'),
  }),
  'events.k8s.io/Event': kind('Event tells what happened to an object. It is kept for an hour.', {
    eventTime: time('When it happened.'),
    series,
    reportingController: text('Name of the controller that saw it.'),
    reportingInstance: text('Which instance of the controller.'),
    action: text('What was done about it.'),
    reason: text('What happened, in one CamelCase word.'),
    regarding: objectReference('The object it happened to.'),
    related: objectReference('A second object that plays a part.'),
    note: text('What happened, as a sentence.'),
    type: text('Normal or Warning.'),
    deprecatedSource: eventSource('Who saw it.'),
    deprecatedFirstTimestamp: time('When it happened first.'),
    deprecatedLastTimestamp: time('When it happened last.'),
    deprecatedCount: int32('How often it happened.'),
  }),
};
