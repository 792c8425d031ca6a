// Schemas of the kinds that come with the server, by `<group>/<Kind>` (`/Namespace`, `coordination.k8s.io/Lease`).
import type { StructuralSchema } from '../../schema/structural.ts';
import { accessSchemas } from './access.ts';
import { certificateSchemas } from './certificates.ts';
import { coreSchemas } from './core.ts';
import { definitionSchemas } from './custom-resource-definition.ts';
import { metricsSchemas } from './metrics.ts';
import { nodeSchemas } from './node.ts';
import { podSchemas } from './pod.ts';
import { policySchemas } from './policy.ts';

export const builtinSchemas: Readonly<Record<string, StructuralSchema>> = {
  ...coreSchemas,
  ...nodeSchemas,
  ...podSchemas,
  ...definitionSchemas,
  ...accessSchemas,
  ...certificateSchemas,
  ...policySchemas,
  ...metricsSchemas,
};
