// policy/v1.
import type { StructuralSchema } from '../../schema/structural.ts';
import { conditions, int32, int64, intOrString, kind, list, map, object, text, textList, texts } from './fields.ts';

/** metav1.LabelSelector. */
const labelSelector = (description: string): StructuralSchema =>
  object(description, {
    matchLabels: texts('Labels with these values, all of them.'),
    matchExpressions: list(
      'Requirements, all of which hold.',
      object(
        'A requirement.',
        {
          key: text('Key of the label.'),
          operator: text('In, NotIn, Exists or DoesNotExist.'),
          values: textList('Values for In and NotIn.'),
        },
        ['key', 'operator'],
      ),
    ),
  });

export const policySchemas: Readonly<Record<string, StructuralSchema>> = {
  'policy/PodDisruptionBudget': kind(
    'PodDisruptionBudget says how many Containers may be missing when nodes are drained, and when replicas are moved.',
    {
      spec: object('What is wanted.', {
        minAvailable: intOrString(
          'How many have to stay healthy, as a number or a percentage of those there should be.',
        ),
        maxUnavailable: intOrString(
          'How many may be missing, as a number or a percentage (rounded up). Only for what a Service controls. Not together with minAvailable.',
        ),
        selector: {
          ...labelSelector('Labels of the Containers; empty selects all of the namespace, absent none.'),
          'x-kubernetes-patch-strategy': 'replace',
        },
        unhealthyPodEvictionPolicy: text(
          'When Containers that are not Ready may be evicted: IfHealthyBudget (default) = while enough others are healthy; AlwaysAllow = always.',
        ),
      }),
      status: object('What is observed.', {
        observedGeneration: int64('Generation of the spec that the numbers are about.'),
        disruptedPods: map('Evictions granted and not seen done yet, by name.', {
          type: 'string',
          format: 'date-time',
        }),
        disruptedUIDs: texts('The UIDs of the Containers in disruptedPods: a successor may have the same name.'),
        disruptionsAllowed: int32('How many may be evicted now.'),
        currentHealthy: int32('How many are healthy.'),
        desiredHealthy: int32('How many have to stay healthy.'),
        expectedPods: int32('How many there should be.'),
        conditions: conditions({ observedGeneration: int64('Generation that was looked at.') }),
      }),
    },
  ),
};
