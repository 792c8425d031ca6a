// Short ways to write the schemas of built-in kinds. Null is taken for absent everywhere, as Go clients write it.
import type { StructuralSchema } from '../../schema/structural.ts';

type Properties = Readonly<Record<string, StructuralSchema>>;

export const text = (description: string, more: StructuralSchema = {}): StructuralSchema => ({
  type: 'string',
  nullable: true,
  description,
  ...more,
});
export const oneOf = (description: string, ...values: string[]): StructuralSchema =>
  text(description, { enum: values });
export const time = (description: string): StructuralSchema => text(description, { format: 'date-time' });
export const flag = (description: string): StructuralSchema => ({ type: 'boolean', nullable: true, description });
export const int32 = (description: string): StructuralSchema => ({
  type: 'integer',
  format: 'int32',
  nullable: true,
  description,
});
export const int64 = (description: string): StructuralSchema => ({ ...int32(description), format: 'int64' });
export const intOrString = (description: string): StructuralSchema => ({
  'x-kubernetes-int-or-string': true,
  nullable: true,
  description,
});
export const object = (
  description: string,
  properties: Properties,
  required: readonly string[] = [],
): StructuralSchema => ({
  type: 'object',
  nullable: true,
  description,
  properties,
  ...(required.length > 0 ? { required } : {}),
});
/** An object whose fields are not described here. */
export const open = (description: string): StructuralSchema => ({
  type: 'object',
  nullable: true,
  description,
  'x-kubernetes-preserve-unknown-fields': true,
});
export const map = (description: string, values: StructuralSchema): StructuralSchema => ({
  type: 'object',
  nullable: true,
  description,
  additionalProperties: values,
});
export const texts = (description: string): StructuralSchema => map(description, { type: 'string' });
export const quantities = (description: string): StructuralSchema => map(description, intOrString('A quantity.'));
export const list = (description: string, items: StructuralSchema): StructuralSchema => ({
  type: 'array',
  nullable: true,
  description,
  items,
});
/** A list of text whose patches add to it. */
export const textSet = (description: string): StructuralSchema => ({
  ...list(description, { type: 'string' }),
  'x-kubernetes-patch-strategy': 'merge',
});
export const textList = (description: string): StructuralSchema => list(description, { type: 'string' });
/** A list whose patches change the items that have the same `key`. */
export const keyed = (description: string, key: string, items: StructuralSchema): StructuralSchema => ({
  ...list(description, items),
  'x-kubernetes-patch-strategy': 'merge',
  'x-kubernetes-patch-merge-key': key,
});

/** A whole object of a kind: the fields every one has, and its own. */
export const kind = (
  description: string,
  properties: Properties,
  required: readonly string[] = [],
): StructuralSchema => ({
  type: 'object',
  description,
  properties: {
    apiVersion: text('Group and version of this form of the object.'),
    kind: text('What the object is.'),
    metadata: { type: 'object', description: 'Name, labels and what the server knows of every object.' },
    ...properties,
  },
  ...(required.length > 0 ? { required } : {}),
});

/** status.conditions of the kinds that have them. */
export const conditions = (more: Properties = {}): StructuralSchema =>
  keyed(
    'What is known about the object, one entry per question.',
    'type',
    object(
      'One observation.',
      {
        type: text('The question, e.g. Ready.'),
        status: oneOf('The answer.', 'True', 'False', 'Unknown'),
        reason: text('Why, in one CamelCase word.'),
        message: text('Why, as a sentence.'),
        lastTransitionTime: time('When the answer changed last.'),
        ...more,
      },
      ['type', 'status'],
    ),
  );

export const objectReference = (description: string): StructuralSchema =>
  object(description, {
    apiVersion: text('Group and version of the object.'),
    kind: text('Kind of the object.'),
    namespace: text('Namespace of the object.'),
    name: text('Name of the object.'),
    uid: text('UID of the object.'),
    resourceVersion: text('Version of the object that was meant.'),
    fieldPath: text('The part of the object that was meant.'),
  });
