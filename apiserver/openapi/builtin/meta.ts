// metav1: what every kind has, and the bodies that are not objects of a kind.
import type { StructuralSchema } from '../../schema/structural.ts';
import { flag, int32, int64, keyed, list, object, open, text, textList, texts, textSet, time } from './fields.ts';

/** Schemas by their short name, published under io.k8s.apimachinery.pkg.apis.meta.v1. */
export const metaSchemas: Readonly<Record<string, StructuralSchema>> = {
  ObjectMeta: object('What every object has: its name, who owns it, how it is found.', {
    name: text('Unique among the objects of the kind in the namespace; cannot be changed.'),
    generateName: text('Beginning of a name that the server completes, when name is absent.'),
    namespace: text('The namespace the object is in; cannot be changed.'),
    uid: text('Unique in time and space, given by the server.'),
    resourceVersion: text(
      'Grows with every change; an update that carries it fails when the object has changed since.',
    ),
    generation: int64('Grows with every change of the wanted state.'),
    creationTimestamp: time('When the object was created.'),
    deletionTimestamp: time('When deletion was asked for; the object goes when its finalizers have.'),
    deletionGracePeriodSeconds: int64('Seconds the object may take to stop.'),
    labels: texts('Short texts to select objects by.'),
    annotations: texts('Any texts for tools.'),
    finalizers: textSet('Names of parts that must clean up before the object may go.'),
    ownerReferences: keyed(
      'Objects this one depends on; it is deleted when all of them are gone.',
      'uid',
      object(
        'An owner.',
        {
          apiVersion: text('Group and version of the owner.'),
          kind: text('Kind of the owner.'),
          name: text('Name of the owner.'),
          uid: text('UID of the owner.'),
          controller: flag('Whether the owner manages this object.'),
          blockOwnerDeletion: flag('Whether the owner waits for this object when it is deleted in the foreground.'),
        },
        ['apiVersion', 'kind', 'name', 'uid'],
      ),
    ),
    managedFields: list('Which writer set which fields.', open('Fields of one writer.')),
    selfLink: text('No longer filled in.'),
  }),
  ListMeta: object('What every list has.', {
    resourceVersion: text('The state of the store that the list shows.'),
    continue: text('Where the next page begins.'),
    remainingItemCount: int64('How many objects follow this page.'),
    selfLink: text('No longer filled in.'),
  }),
  DeleteOptions: object('How to delete.', {
    apiVersion: text('Group and version of this body.'),
    kind: text('DeleteOptions.'),
    dryRun: textList('All: check only.'),
    gracePeriodSeconds: int64('Seconds the object may take to stop.'),
    orphanDependents: flag('Old form of propagationPolicy.'),
    preconditions: object('What must still be true.', {
      uid: text('UID the object must have.'),
      resourceVersion: text('Version the object must have.'),
    }),
    propagationPolicy: text('What happens to dependents: Orphan, Background or Foreground.'),
  }),
  Status: object('How a request ended.', {
    apiVersion: text('v1.'),
    kind: text('Status.'),
    metadata: object('List metadata.', {}),
    status: text('Success or Failure.'),
    message: text('What happened, as a sentence.'),
    reason: text('What happened, in one word.'),
    code: int32('HTTP status code.'),
    details: open('Which object and which of its fields.'),
  }),
  Patch: open('A change to an object, in the form its content type names.'),
};

/** Names in metaSchemas of which objects can be sent on their own. */
export const META_PREFIX = 'io.k8s.apimachinery.pkg.apis.meta.v1';
