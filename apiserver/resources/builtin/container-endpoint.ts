// windlass.dev/v1 ContainerEndpoint: a view over the Containers that run and have an address. Agents watch it in place of
// the Containers of all other nodes: it is a tenth of them, and changes when an address or readiness does.
import type { Container } from '../../../crds/container.ts';
import { containerEndpointKind, type ContainerEndpoint } from '../../../crds/container-endpoint.ts';
import { OPEN_SCHEMA, defineBuiltin } from './define.ts';
import { defined, viewMetadata } from './view.ts';
import type { Resource, StoredObject } from '../resource.ts';

/** The resource; its objects are those of `containers.windlass.dev`. */
export function containerEndpointResource(): Resource {
  return defineBuiltin({
    group: containerEndpointKind.group,
    version: containerEndpointKind.version,
    kind: containerEndpointKind.kind,
    plural: containerEndpointKind.plural,
    shortNames: ['cep'],
    namespaced: true,
    schema: OPEN_SCHEMA,
    verbs: ['get', 'list', 'watch'],
    stored: { group: 'windlass.dev', plural: 'containers' },
    isServed: (object) => isEndpoint(object as unknown as Container),
    hidesUnchanged: true,
    fromStored: (object) => toEndpoint(object as unknown as Container) as unknown as StoredObject,
    selectableFieldNames: ['spec.nodeName'],
    selectableFields: (object) => ({ 'spec.nodeName': (object as unknown as ContainerEndpoint).spec.nodeName ?? '' }),
    columns: [
      { name: 'Node', type: 'string', jsonPath: '.spec.nodeName' },
      { name: 'Networks', type: 'string', jsonPath: '.status.networks[*].name' },
      { name: 'Addresses', type: 'string', jsonPath: '.status.networks[*].ipv4Address' },
      { name: 'Ready', type: 'string', jsonPath: '.status.conditions[*].status' },
      { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
    ],
  });
}

function isEndpoint({ spec, status }: Container): boolean {
  return (
    status?.phase === 'Running' &&
    spec.nodeName !== undefined &&
    (status.networks ?? []).some(({ ipv4Address }) => ipv4Address !== undefined)
  );
}

/** What is seen of `container` from other nodes. Pure. */
export function toEndpoint({ metadata, spec, status }: Container): ContainerEndpoint {
  const { labels, ownerReferences } = metadata;
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  return {
    apiVersion: `${containerEndpointKind.group}/${containerEndpointKind.version}`,
    kind: containerEndpointKind.kind,
    metadata: {
      ...viewMetadata(metadata),
      ...defined({ labels }),
      ...(ownerReferences ? { ownerReferences: ownerReferences.filter(({ controller }) => controller) } : {}),
    },
    spec: defined({
      nodeName: spec.nodeName,
      networks: spec.networks,
      hostNetwork: spec.hostNetwork,
      shareNamespaces: spec.shareNamespaces,
    }) as ContainerEndpoint['spec'],
    status: {
      phase: 'Running',
      networks: status?.networks ?? [],
      conditions: ready ? [{ type: 'Ready', status: ready.status }] : [],
    },
  };
}
