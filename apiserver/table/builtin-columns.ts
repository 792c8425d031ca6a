// The columns kubectl's users know of the built-in kinds, as upstream's server prints them.
import {
  DRAIN_TAINT,
  type CertificateSigningRequest,
  type Event,
  type Node,
  type Secret,
  type ConfigMap,
  type Lease,
} from '../../crds/builtin.ts';
import type { DisruptionBudget } from '../../crds/disruption-budget.ts';
import type { PrinterColumn } from '../../crds/kind.ts';
import type { StoredObject } from '../resources/resource.ts';
import { formatAge } from './age.ts';
import { podColumns } from './pod-columns.ts';

export interface RowPrinter {
  readonly columns: readonly PrinterColumn[];
  /** Cells in the order of the columns, without the name that every table starts with. */
  readonly row?: (object: StoredObject, now: number) => unknown[];
}

const ROLE_LABEL = 'node-role.kubernetes.io/';

/** A column whose cell is computed by code. */
export const column = (
  name: string,
  type: PrinterColumn['type'],
  description: string,
  priority = 0,
): PrinterColumn => ({
  name,
  type,
  jsonPath: '',
  description,
  priority,
});
const wide = (name: string, description: string): PrinterColumn => column(name, 'string', description, 1);
const age = column('Age', 'string', 'How long ago the object was created.');
const createdAt: PrinterColumn = {
  name: 'Created At',
  type: 'string',
  jsonPath: '.metadata.creationTimestamp',
  description: 'When the object was created.',
};
const ageOf = (object: StoredObject, now: number): string => formatAge(object.metadata.creationTimestamp, now);
const sizeOf = (data: Record<string, string> | undefined): number => Object.keys(data ?? {}).length;

/** Columns by `<group>/<Kind>`; kinds that are not here show name and age. */
export const builtinColumns: Readonly<Record<string, RowPrinter>> = {
  '/Namespace': {
    columns: [column('Status', 'string', 'Active, or Terminating while it is emptied.'), age],
    row: (object, now) => [(object['status'] as { phase?: string } | undefined)?.phase ?? 'Active', ageOf(object, now)],
  },
  '/Node': {
    columns: [
      column('Status', 'string', 'Whether the node is ready to run containers.'),
      column('Roles', 'string', 'Roles by label.'),
      age,
      column('Version', 'string', 'Version of the node agent.'),
      wide('Internal-IP', 'Address inside the cluster.'),
      wide('External-IP', 'Address from outside.'),
      wide('OS-Image', 'Operating system.'),
      wide('Kernel-Version', 'Version of the kernel.'),
      wide('Container-Runtime', 'Name and version of the container runtime.'),
    ],
    row: nodeRow,
  },
  '/Secret': {
    columns: [
      column('Type', 'string', 'What the secret is for.'),
      column('Data', 'string', 'How many values it has.'),
      age,
    ],
    row: (object, now) => {
      const secret = object as unknown as Secret;
      return [secret.type ?? 'Opaque', sizeOf(secret.data), ageOf(object, now)];
    },
  },
  '/ConfigMap': {
    columns: [column('Data', 'string', 'How many values it has.'), age],
    row: (object, now) => {
      const map = object as unknown as ConfigMap;
      return [sizeOf(map.data) + sizeOf(map.binaryData), ageOf(object, now)];
    },
  },
  '/ServiceAccount': {
    columns: [column('Secrets', 'string', 'How many secrets it lists.'), age],
    row: (object, now) => [((object['secrets'] as unknown[] | undefined) ?? []).length, ageOf(object, now)],
  },
  '/Pod': podColumns,
  '/Event': eventPrinter(coreEvent),
  'events.k8s.io/Event': eventPrinter(newEvent),
  'coordination.k8s.io/Lease': {
    columns: [column('Holder', 'string', 'Who holds the lease.'), age],
    row: (object, now) => [(object as unknown as Lease).spec?.holderIdentity ?? '', ageOf(object, now)],
  },
  'certificates.k8s.io/CertificateSigningRequest': {
    columns: [
      age,
      column('SignerName', 'string', 'Who signs it.'),
      column('Requestor', 'string', 'Who asked for it.'),
      column('RequestedDuration', 'string', 'How long it should last.'),
      column('Condition', 'string', 'Pending, Approved, Denied, Failed, Issued.'),
    ],
    row: signingRequestRow,
  },
  'policy/PodDisruptionBudget': {
    columns: [
      column('Min Available', 'string', 'How many have to stay healthy.'),
      column('Max Unavailable', 'string', 'How many may be missing.'),
      column('Allowed Disruptions', 'integer', 'How many may be evicted now.'),
      age,
    ],
    row: (object, now) => {
      const { spec, status } = object as unknown as DisruptionBudget;
      const shown = (limit: number | string | null | undefined): string => String(limit ?? 'N/A');
      return [
        shown(spec?.minAvailable),
        shown(spec?.maxUnavailable),
        status?.disruptionsAllowed ?? 0,
        ageOf(object, now),
      ];
    },
  },
  'apiextensions.k8s.io/CustomResourceDefinition': { columns: [createdAt] },
  'rbac.authorization.k8s.io/Role': { columns: [createdAt] },
  'rbac.authorization.k8s.io/ClusterRole': { columns: [createdAt] },
  'rbac.authorization.k8s.io/RoleBinding': {
    columns: [column('Role', 'string', 'The role it grants.'), age],
    row: bindingRow,
  },
  'rbac.authorization.k8s.io/ClusterRoleBinding': {
    columns: [column('Role', 'string', 'The role it grants.'), age],
    row: bindingRow,
  },
};

function bindingRow(object: StoredObject, now: number): unknown[] {
  const role = object['roleRef'] as { kind?: string; name?: string } | undefined;
  return [`${role?.kind ?? ''}/${role?.name ?? ''}`, ageOf(object, now)];
}

function signingRequestRow(object: StoredObject, now: number): unknown[] {
  const { metadata, spec, status } = object as unknown as Partial<CertificateSigningRequest> & StoredObject;
  const words = (status?.conditions ?? []).map(({ type }) => type);
  if (words.length === 0) words.push('Pending');
  if (status?.certificate) words.push('Issued');
  const seconds = spec?.expirationSeconds;
  const duration = seconds
    ? formatAge(metadata.creationTimestamp, Date.parse(metadata.creationTimestamp ?? '') + seconds * 1000)
    : '<none>';
  return [ageOf(object, now), spec?.signerName ?? '', spec?.username ?? '', duration, words.join(',')];
}

function nodeRow(object: StoredObject, now: number): unknown[] {
  const node = object as unknown as Node;
  const info = (node.status as { nodeInfo?: Record<string, string> } | undefined)?.nodeInfo ?? {};
  const address = (type: string): string =>
    node.status?.addresses?.find((each) => each.type === type)?.address ?? '<none>';
  return [
    nodeStatus(node),
    nodeRoles(node),
    ageOf(object, now),
    info['kubeletVersion'] ?? '',
    address('InternalIP'),
    address('ExternalIP'),
    info['osImage'] ?? '<unknown>',
    info['kernelVersion'] ?? '<unknown>',
    info['containerRuntimeVersion'] ?? '<unknown>',
  ];
}

function nodeStatus(node: Node): string {
  const ready = node.status?.conditions?.find((condition) => condition.type === 'Ready');
  const words = [ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'];
  const isDraining = node.spec?.taints?.some(({ key }) => key === DRAIN_TAINT) ?? false;
  if (node.spec?.unschedulable === true || isDraining) words.push('SchedulingDisabled');
  return words.join(',');
}

function nodeRoles(node: Node): string {
  const labels = node.metadata.labels ?? {};
  const roles = Object.keys(labels).flatMap((key) =>
    key.startsWith(ROLE_LABEL) ? [key.slice(ROLE_LABEL.length)] : [],
  );
  const legacy = labels['kubernetes.io/role'];
  if (legacy !== undefined && legacy !== '') roles.push(legacy);
  return roles.length === 0 ? '<none>' : [...new Set(roles)].toSorted().join(',');
}

/** What an Event says, whichever of the two groups it is written in. */
interface EventFacts {
  readonly lastSeen: string | undefined;
  readonly firstSeen: string | undefined;
  readonly count: number;
  readonly about: { kind?: string; name?: string; fieldPath?: string };
  readonly source: string;
  readonly message: string;
}

function eventPrinter(factsOf: (object: StoredObject) => EventFacts): RowPrinter {
  return {
    columns: [
      column('Last Seen', 'string', 'How long ago it happened last.'),
      column('Type', 'string', 'Normal or Warning.'),
      column('Reason', 'string', 'What happened, in one word.'),
      column('Object', 'string', 'The object it happened to.'),
      wide('Subobject', 'The part of the object.'),
      wide('Source', 'Who saw it.'),
      column('Message', 'string', 'What happened, as a sentence.'),
      wide('First Seen', 'How long ago it happened first.'),
      wide('Count', 'How often it happened.'),
      { name: 'Name', type: 'string', format: 'name', jsonPath: '.metadata.name', description: 'Name.', priority: 1 },
    ],
    row(object, now) {
      const facts = factsOf(object);
      const reason = typeof object['reason'] === 'string' ? object['reason'] : '';
      return [
        formatAge(facts.lastSeen, now),
        object['type'] ?? '',
        reason,
        `${(facts.about.kind ?? '').toLowerCase()}/${facts.about.name ?? ''}`,
        facts.about.fieldPath ?? '',
        facts.source,
        facts.message.trim(),
        formatAge(facts.firstSeen, now),
        facts.count,
        object.metadata.name,
      ];
    },
  };
}

function coreEvent(object: StoredObject): EventFacts {
  const event = object as unknown as Event & { series?: { count?: number; lastObservedTime?: string } };
  const source = [event.source?.component ?? event.reportingComponent ?? '', event.source?.host ?? ''];
  return {
    lastSeen: event.series?.lastObservedTime ?? event.lastTimestamp ?? event.eventTime ?? event.firstTimestamp,
    firstSeen: event.firstTimestamp ?? event.eventTime ?? undefined,
    count: event.series?.count ?? event.count ?? 1,
    about: event.involvedObject ?? {},
    source: source.filter((word) => word !== '').join(', '),
    message: event.message ?? '',
  };
}

interface NewEvent {
  readonly eventTime?: string | null;
  readonly series?: { count?: number; lastObservedTime?: string };
  readonly regarding?: EventFacts['about'];
  readonly note?: string;
  readonly reportingController?: string;
  readonly reportingInstance?: string;
  readonly deprecatedSource?: { component?: string; host?: string };
  readonly deprecatedFirstTimestamp?: string;
  readonly deprecatedLastTimestamp?: string;
  readonly deprecatedCount?: number;
}

function newEvent(object: StoredObject): EventFacts {
  const event = object as unknown as NewEvent;
  const eventTime = event.eventTime ?? undefined;
  return {
    lastSeen: event.series?.lastObservedTime ?? event.deprecatedLastTimestamp ?? eventTime,
    firstSeen: event.deprecatedFirstTimestamp ?? eventTime,
    count: event.series?.count ?? event.deprecatedCount ?? 1,
    about: event.regarding ?? {},
    source: event.reportingController ?? event.deprecatedSource?.component ?? '',
    message: event.note ?? '',
  };
}
