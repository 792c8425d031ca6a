// CustomResourceDefinition. The schema inside it is recursive and so not described here; validation reads it whole.
import type { StructuralSchema } from '../../schema/structural.ts';
import { conditions, flag, int32, int64, kind, list, object, open, text, textList } from './fields.ts';

const names = (description: string): StructuralSchema =>
  object(description, {
    plural: text('Name in URLs, lower case.'),
    singular: text('Name of one; the kind in lower case when not said.'),
    kind: text('CamelCase name in objects.'),
    listKind: text('Kind of a list; <kind>List when not said.'),
    shortNames: textList('Short names for kubectl.'),
    categories: textList('Groups of kinds it is listed with, e.g. all.'),
  });

export const definitionSchemas: Readonly<Record<string, StructuralSchema>> = {
  'apiextensions.k8s.io/CustomResourceDefinition': kind(
    'CustomResourceDefinition adds a kind to the server.',
    {
      spec: object(
        'The kind.',
        {
          group: text('Group of the kind, a domain name.'),
          scope: text('Namespaced or Cluster.'),
          names: names('Names of the kind.'),
          conversion: open('How versions are converted: None is the only strategy.'),
          preserveUnknownFields: flag('Must be false.'),
          versions: list(
            'Forms of the kind.',
            object(
              'A form of the kind.',
              {
                name: text('Name of the version, e.g. v1.'),
                served: flag('Whether it can be used.'),
                storage: flag('Whether objects are stored in this form: true for exactly one.'),
                deprecated: flag('Whether users are warned.'),
                deprecationWarning: text('The warning.'),
                schema: object('What objects look like.', {
                  openAPIV3Schema: open('A structural OpenAPI v3 schema.'),
                }),
                subresources: object('Parts with an URL of their own.', {
                  status: open('Present: status is written by itself.'),
                  scale: object('Present: kubectl scale works.', {
                    specReplicasPath: text('JSONPath of the wanted number.'),
                    statusReplicasPath: text('JSONPath of the observed number.'),
                    labelSelectorPath: text('JSONPath of the selector of the replicas.'),
                  }),
                }),
                additionalPrinterColumns: list(
                  'Columns of kubectl get.',
                  object('A column.', {
                    name: text('Heading.'),
                    type: text('integer, number, string, boolean or date.'),
                    format: text('How the value is written.'),
                    description: text('What it shows.'),
                    priority: int32('Above 0: with -o wide only.'),
                    jsonPath: text('Where the value is.'),
                  }),
                ),
                selectableFields: list(
                  'Fields for field selectors.',
                  object('A field.', { jsonPath: text('Where it is.') }),
                ),
              },
              ['name', 'served', 'storage'],
            ),
          ),
        },
        ['group', 'names', 'scope', 'versions'],
      ),
      status: object('What is observed.', {
        conditions: conditions({ observedGeneration: int64('The generation it was observed at.') }),
        acceptedNames: names('Names under which it is served.'),
        storedVersions: textList('Versions that objects may be stored in.'),
        observedGeneration: int64('The generation that was acted upon.'),
      }),
    },
    ['spec'],
  ),
};
