// ServiceFrontend: what nodes have to know of a Service, and no more. Read-only; the API server derives it.
import type { ContainerSpec } from './container.ts';
import { GROUP, VERSION, type Condition, type KindName, type KubernetesObject } from './kind.ts';
import type { ServiceSpec } from './service.ts';
import type { ServiceStatus } from './service-status.ts';

export interface ServiceFrontend extends KubernetesObject {
  readonly spec: Pick<ServiceSpec, 'ports' | 'endpointMode' | 'sessionAffinity' | 'clientAddress' | 'mode'> & {
    readonly template: {
      readonly spec: Pick<ContainerSpec, 'networks' | 'hostNetwork' | 'shareNamespaces' | 'dependsOn'>;
    };
  };
  readonly status?: Pick<ServiceStatus, 'virtualIPs' | 'publishedPorts'> & {
    /** Whether one of its Containers is Ready, at least: how many are changes all the time, and no node asks for it. */
    readonly isServing?: boolean;
    /** Ready and Failed, if it has them; with a message if it has failed, which stays as it is. */
    readonly conditions?: readonly (Pick<Condition, 'type' | 'status'> & { readonly message?: string })[] | undefined;
  };
}

export const serviceFrontendKind: KindName & { readonly type?: ServiceFrontend } = {
  group: GROUP,
  version: VERSION,
  kind: 'ServiceFrontend',
  plural: 'servicefrontends',
  namespaced: true,
};
