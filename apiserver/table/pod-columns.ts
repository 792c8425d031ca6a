// Columns of the Pod view.
import type { PrinterColumn } from '../../crds/kind.ts';
import type { StoredObject } from '../resources/resource.ts';
import { formatAge } from './age.ts';

interface ContainerState {
  readonly waiting?: { reason?: string };
  readonly terminated?: { reason?: string; exitCode?: number; signal?: number; finishedAt?: string };
}

interface PodFacts {
  readonly spec?: { nodeName?: string; containers?: unknown[]; readinessGates?: unknown[] };
  readonly status?: {
    phase?: string;
    reason?: string;
    podIP?: string;
    nominatedNodeName?: string;
    containerStatuses?: {
      ready?: boolean;
      restartCount?: number;
      state?: ContainerState;
      lastState?: ContainerState;
    }[];
  };
}

const text = (name: string, description: string, priority = 0): PrinterColumn => ({
  name,
  type: 'string',
  jsonPath: '',
  description,
  priority,
});

/** READY STATUS RESTARTS AGE, and where it runs with -o wide. */
export const podColumns = {
  columns: [
    text('Ready', 'Ready containers of all containers.'),
    text('Status', 'Phase, or the reason why it does not run.'),
    text('Restarts', 'How often its containers were restarted, and when last.'),
    text('Age', 'How long ago it was created.'),
    text('IP', 'Its address.', 1),
    text('Node', 'The node it is bound to.', 1),
    text('Nominated Node', 'The node it waits for.', 1),
    text('Readiness Gates', 'Further conditions it must meet.', 1),
  ],
  row: podRow,
};

function podRow(object: StoredObject, now: number): unknown[] {
  const pod = object as unknown as PodFacts;
  const statuses = pod.status?.containerStatuses ?? [];
  const ready = statuses.filter((status) => status.ready === true).length;
  return [
    `${ready}/${pod.spec?.containers?.length ?? 0}`,
    statusOf(pod, object.metadata.deletionTimestamp !== undefined),
    restartsOf(pod, now),
    formatAge(object.metadata.creationTimestamp, now),
    orNone(pod.status?.podIP),
    orNone(pod.spec?.nodeName),
    orNone(pod.status?.nominatedNodeName),
    '<none>',
  ];
}

const orNone = (value: string | undefined): string => (value === undefined || value === '' ? '<none>' : value);

function statusOf(pod: PodFacts, isDeleting: boolean): string {
  if (isDeleting) return pod.status?.reason === 'NodeLost' ? 'Unknown' : 'Terminating';
  let shown = pod.status?.reason ?? pod.status?.phase ?? 'Unknown';
  for (const { state } of pod.status?.containerStatuses ?? []) {
    const terminated = state?.terminated;
    if (state?.waiting?.reason !== undefined) shown = state.waiting.reason;
    else if (terminated?.reason !== undefined && terminated.reason !== '') shown = terminated.reason;
    else if (terminated)
      shown = terminated.signal ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode ?? 0}`;
  }
  return shown;
}

function restartsOf(pod: PodFacts, now: number): string {
  const statuses = pod.status?.containerStatuses ?? [];
  const count = statuses.reduce((sum, status) => sum + (status.restartCount ?? 0), 0);
  const ends = statuses.flatMap((status) => status.lastState?.terminated?.finishedAt ?? []).toSorted();
  const last = ends.at(-1);
  return count === 0 || last === undefined ? String(count) : `${count} (${formatAge(last, now)} ago)`;
}
