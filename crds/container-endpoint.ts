// ContainerEndpoint: what other nodes have to know of a Container, and no more. Read-only; the API server derives it.
import type { Container } from './container.ts';
import { GROUP, VERSION, type KindName, type KubernetesObject } from './kind.ts';

export interface ContainerEndpoint extends KubernetesObject {
  readonly spec: Pick<Container['spec'], 'nodeName' | 'networks' | 'hostNetwork' | 'shareNamespaces'>;
  readonly status: {
    readonly phase: 'Running';
    /** Its addresses, as its node says them. */
    readonly networks: NonNullable<NonNullable<Container['status']>['networks']>;
    /** Ready, if it is that. */
    readonly conditions: readonly { readonly type: 'Ready'; readonly status: 'True' | 'False' | 'Unknown' }[];
  };
}

export const containerEndpointKind: KindName & { readonly type?: ContainerEndpoint } = {
  group: GROUP,
  version: VERSION,
  kind: 'ContainerEndpoint',
  plural: 'containerendpoints',
  namespaced: true,
};
