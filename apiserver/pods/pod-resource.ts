// v1 pods as the server knows them: a read-only view over the Containers, by which they can also be deleted.
import type { Container } from '../../crds/container.ts';
import { defineBuiltin } from '../resources/builtin/define.ts';
import { schemaOf } from '../resources/builtin/schemas.ts';
import type { Resource, StoredObject } from '../resources/resource.ts';
import { containerToPod } from './container-to-pod.ts';
import type { Pod } from './pod.ts';

const SUBRESOURCES = [
  { name: 'log', kind: 'Pod', verbs: ['get'] },
  { name: 'exec', kind: 'PodExecOptions', verbs: ['create', 'get'] },
  { name: 'attach', kind: 'PodAttachOptions', verbs: ['create', 'get'] },
  { name: 'portforward', kind: 'PodPortForwardOptions', verbs: ['create', 'get'] },
  { name: 'eviction', kind: 'Eviction', group: 'policy', version: 'v1', verbs: ['create'] },
] as const;

/** The resource; its objects are those of `containers.windlass.dev`. */
export function podResource(): Resource {
  return defineBuiltin({
    group: '',
    version: 'v1',
    kind: 'Pod',
    plural: 'pods',
    shortNames: ['po'],
    namespaced: true,
    schema: schemaOf('', 'Pod'),
    verbs: ['get', 'list', 'watch', 'delete', 'deletecollection'],
    subresources: SUBRESOURCES,
    stored: { group: 'windlass.dev', plural: 'containers' },
    fromStored: (object) => containerToPod(object as unknown as Container) as unknown as StoredObject,
    selectableFieldNames: ['spec.nodeName', 'spec.restartPolicy', 'status.phase', 'status.podIP'],
    selectableFields(object) {
      const { spec, status } = object as unknown as Pod;
      return {
        'spec.nodeName': spec.nodeName ?? '',
        'spec.restartPolicy': spec.restartPolicy,
        'status.phase': status.phase,
        'status.podIP': status.podIP ?? '',
      };
    },
  });
}
