// The kinds this server has without any CRD.
import { validateCustomResourceDefinition } from '../schema/crd.ts';
import { archiveResource } from './builtin/archive.ts';
import { certificateSigningRequestResource } from './builtin/certificate-signing-request.ts';
import { customResourceDefinitionResource } from './builtin/custom-resource-definition.ts';
import { configMapResource, secretResource, serviceAccountResource } from './builtin/config.ts';
import { containerEndpointResource } from './builtin/container-endpoint.ts';
import { disruptionBudgetResource } from './builtin/disruption-budget.ts';
import { eventResource, newEventResource } from './builtin/event.ts';
import { namespaceResource } from './builtin/namespace.ts';
import { leaseResource, nodeResource } from './builtin/node.ts';
import { reviewResources } from './builtin/reviews.ts';
import { serviceFrontendResource } from './builtin/service-frontend.ts';
import { schemaOf } from './builtin/schemas.ts';
import type { ResourceRegistry } from './registry.ts';

/** Registers the built-in resources. */
export function installBuiltins(registry: ResourceRegistry): void {
  registry.set('builtin', [
    configMapResource(schemaOf('', 'ConfigMap')),
    eventResource(schemaOf('', 'Event')),
    namespaceResource(schemaOf('', 'Namespace')),
    nodeResource(schemaOf('', 'Node')),
    secretResource(schemaOf('', 'Secret')),
    serviceAccountResource(schemaOf('', 'ServiceAccount')),
    newEventResource(schemaOf('events.k8s.io', 'Event')),
    leaseResource(schemaOf('coordination.k8s.io', 'Lease')),
    certificateSigningRequestResource(schemaOf('certificates.k8s.io', 'CertificateSigningRequest')),
    disruptionBudgetResource(schemaOf('policy', 'PodDisruptionBudget')),
    customResourceDefinitionResource(
      schemaOf('apiextensions.k8s.io', 'CustomResourceDefinition'),
      validateCustomResourceDefinition,
    ),
    ...reviewResources(),
    containerEndpointResource(),
    serviceFrontendResource(),
    archiveResource(),
  ]);
}
