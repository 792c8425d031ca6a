// windlass.dev/v1 ServiceFrontend: a view over Services with what nodes make ports, names and dependencies of. Agents watch
// it in place of Services, whose numbers change with each of their Containers and would go to all nodes.
import type { Service } from '../../../crds/service.ts';
import { serviceFrontendKind, type ServiceFrontend } from '../../../crds/service-frontend.ts';
import type { Resource, StoredObject } from '../resource.ts';
import { OPEN_SCHEMA, defineBuiltin } from './define.ts';
import { defined, viewMetadata } from './view.ts';

/** The resource; its objects are those of `services.windlass.dev`. */
export function serviceFrontendResource(): Resource {
  return defineBuiltin({
    group: serviceFrontendKind.group,
    version: serviceFrontendKind.version,
    kind: serviceFrontendKind.kind,
    plural: serviceFrontendKind.plural,
    shortNames: ['sfe'],
    namespaced: true,
    schema: OPEN_SCHEMA,
    verbs: ['get', 'list', 'watch'],
    stored: { group: 'windlass.dev', plural: 'services' },
    hidesUnchanged: true,
    fromStored: (object) => toFrontend(object as unknown as Service) as unknown as StoredObject,
    columns: [
      { name: 'Addresses', type: 'string', jsonPath: '.status.virtualIPs[*].ip' },
      { name: 'Published', type: 'string', jsonPath: '.status.publishedPorts[*].port' },
      { name: 'Serving', type: 'boolean', jsonPath: '.status.isServing' },
      { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
    ],
  });
}

/** What nodes see of `service`. Pure. */
export function toFrontend({ metadata, spec, status = {} }: Service): ServiceFrontend {
  const { mode, ports, endpointMode, sessionAffinity, clientAddress } = spec;
  const { networks, hostNetwork, shareNamespaces, dependsOn } = spec.template.spec;
  const { virtualIPs, publishedPorts } = status;
  return {
    apiVersion: `${serviceFrontendKind.group}/${serviceFrontendKind.version}`,
    kind: serviceFrontendKind.kind,
    metadata: viewMetadata(metadata),
    spec: {
      ...defined({ mode, ports, endpointMode, sessionAffinity, clientAddress }),
      template: { spec: defined({ networks, hostNetwork, shareNamespaces, dependsOn }) },
    } as ServiceFrontend['spec'],
    status: {
      ...defined({ virtualIPs, publishedPorts }),
      isServing: (status.readyReplicas ?? 0) > 0,
      conditions: (status.conditions ?? [])
        .filter(({ type }) => type === 'Ready' || type === 'Failed')
        .map(({ type, status: is, message }) => ({
          ...{ type, status: is },
          ...(type === 'Failed' && is === 'True' ? { message } : {}),
        })),
    },
  };
}
