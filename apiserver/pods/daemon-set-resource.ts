// apps/v1 daemonsets: a read-only view over the Services of mode Global. It is what `kubectl drain` looks for when a Pod
// says that a DaemonSet controls it, and what `kubectl rollout status` understands.
import type { Service } from '../../crds/service.ts';
import { defineBuiltin, OPEN_SCHEMA } from '../resources/builtin/define.ts';
import type { Resource, StoredObject } from '../resources/resource.ts';

const SERVICE_LABEL = 'windlass.dev/service';

/** The resource; its objects are the Global ones of `services.windlass.dev`. */
export function daemonSetResource(): Resource {
  return defineBuiltin({
    group: 'apps',
    version: 'v1',
    kind: 'DaemonSet',
    plural: 'daemonsets',
    shortNames: ['ds'],
    namespaced: true,
    schema: OPEN_SCHEMA,
    verbs: ['get', 'list', 'watch'],
    stored: { group: 'windlass.dev', plural: 'services' },
    isServed: (object) => (object as unknown as Service).spec.mode === 'Global',
    fromStored: (object) => serviceToDaemonSet(object as unknown as Service),
    columns: [
      { name: 'Desired', type: 'integer', jsonPath: '.status.desiredNumberScheduled' },
      { name: 'Current', type: 'integer', jsonPath: '.status.currentNumberScheduled' },
      { name: 'Ready', type: 'integer', jsonPath: '.status.numberReady' },
      { name: 'Up-to-date', type: 'integer', jsonPath: '.status.updatedNumberScheduled' },
      { name: 'Available', type: 'integer', jsonPath: '.status.numberAvailable' },
      { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
    ],
  });
}

/** The DaemonSet that shows `service`: same name, namespace and uid, the numbers of its status. */
export function serviceToDaemonSet({ metadata, spec, status = {} }: Service): StoredObject {
  const { managedFields: _, ...kept } = metadata;
  const labels = { ...spec.template.metadata?.labels, [SERVICE_LABEL]: metadata.name };
  const { image, imageName, nodeSelector } = spec.template.spec;
  const desired = status.desiredReplicas ?? 0;
  const available = status.availableReplicas ?? 0;
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: kept,
    spec: {
      selector: { matchLabels: { [SERVICE_LABEL]: metadata.name } },
      template: {
        metadata: { labels },
        spec: {
          containers: [{ name: metadata.name, image: image ?? imageName }],
          ...(nodeSelector ? { nodeSelector } : {}),
        },
      },
      updateStrategy: { type: 'RollingUpdate' },
      minReadySeconds: spec.minReadySeconds,
      revisionHistoryLimit: spec.revisionHistoryLimit,
    },
    status: {
      observedGeneration: status.observedGeneration ?? 0,
      desiredNumberScheduled: desired,
      currentNumberScheduled: Math.min(status.replicas ?? 0, desired),
      numberMisscheduled: Math.max(0, (status.replicas ?? 0) - desired),
      numberReady: status.readyReplicas ?? 0,
      updatedNumberScheduled: status.updatedReplicas ?? 0,
      numberAvailable: available,
      numberUnavailable: Math.max(0, desired - available),
    },
  };
}
