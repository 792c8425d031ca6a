// metrics.k8s.io/v1beta1: what is in use now.
import type { StructuralSchema } from '../../schema/structural.ts';
import { kind, list, object, quantities, text, time } from './fields.ts';

const measured = {
  timestamp: time('When it was measured.'),
  window: text('Over how long CPU was measured, before timestamp.'),
};
const usage = quantities('What is in use: cpu in cores, memory that cannot be freed at once.');

export const metricsSchemas: Readonly<Record<string, StructuralSchema>> = {
  'metrics.k8s.io/NodeMetrics': kind('NodeMetrics is what a node uses of its CPU and memory.', { ...measured, usage }),
  'metrics.k8s.io/PodMetrics': kind(
    'PodMetrics is what a Container uses of CPU and memory, under the name of its Pod.',
    {
      ...measured,
      containers: list(
        'One: a Pod has one container here.',
        object('A container.', { name: text('Its name.'), usage }),
      ),
    },
  ),
};
