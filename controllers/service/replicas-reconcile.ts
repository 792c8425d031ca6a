// Acts on the plan of a Replicated or Global Service: creates and removes its Containers, then says how far it is.
import { containerKind, type Container } from '../../crds/container.ts';
import { serviceKind, type Service, type ServiceStatus } from '../../crds/service.ts';
import { findCondition } from '../runtime/conditions.ts';
import { forEachLimit } from '../runtime/fan-out.ts';
import { keyOf } from '../runtime/object-key.ts';
import type { Result } from '../runtime/reconciler.ts';
import { writeStatus } from '../runtime/write.ts';
import { createChild, isForeign, PARALLEL_WRITES, takeTurn } from './create-child.ts';
import { nextHealed, planReplicas, type Creation, type Removal } from './plan.ts';
import { planPublishedPorts, type PublishedPorts } from './published-ports.ts';
import type { ServiceDeps } from './reconcile.ts';
import { recordRevision, templateOf, type Revision } from './revision.ts';
import { ensureSlotVolumes } from './slot-volumes.ts';
import { HEALED_ANNOTATION, REVISION_LABEL, slotNameOf } from './slots.ts';
import { planStatus } from './status.ts';
import { statusDelayMs } from './status-pace.ts';
import { planUpdateState, type Update } from './update-state.ts';
import { VIRTUAL_IP_RETRY_MS } from './virtual-ips.ts';
import { specForSlot, wantedSlots } from './wanted-slots.ts';

/** One look at a Service: where its update is, what that asks for, and what is to be told. */
export async function reconcileReplicas(deps: ServiceDeps, seen: Service, signal: AbortSignal): Promise<Result> {
  const services = deps.client.kind(serviceKind);
  const now = deps.clock.now();
  const cached = newest(deps, seen);
  const children = deps.childrenOf.get(cached.metadata.uid ?? '');
  const history = recordRevision(cached.status?.revisions ?? [], cached.spec.template, now);
  const wanted = wantedSlots(cached, deps.nodes.list(), children);
  const decision = planUpdateState({ service: cached, history, wanted, children, now });

  const { update, target, fallback } = decision;
  const service = isVerdict(cached.status?.update, update)
    ? await writeVerdict(deps, cached, { update, revisions: [...history] }, signal)
    : cached;
  const plan = planReplicas({
    service,
    wanted,
    children,
    update,
    target: target.hash,
    fallback: fallback.hash,
    now,
    isForeign: (name) => isForeign(deps, service, name),
  });
  const conflicts = [...plan.conflicts];
  const turn = takeTurn(plan);
  await forEachLimit(turn.remove, PARALLEL_WRITES, (removal) => remove(deps, service, removal, signal));
  await forEachLimit(turn.create, PARALLEL_WRITES, async (creation) => {
    const revision = creation.revision === target.hash ? target : fallback;
    if (!(await create(deps, service, { creation, revision }, signal))) conflicts.push(creation.name);
  });
  forgetHealed(deps, service, children);

  const published = planPublishedPorts(
    service,
    (port) => deps.servicesByPort.get(port),
    deps.nodesInConflict.get(keyOf(service)),
  );
  const virtualIPs = deps.virtualIps.allocate(service);
  const exhausted = deps.virtualIps.exhausted(service);
  const input = { service, children, wanted, decision, history, conflicts, virtualIPs, exhausted, published, now };
  const { status, lookAgainMs } = planStatus(input);
  const { uid = '' } = service.metadata;
  const heldMs = statusDelayMs(service.status, status, { writtenAt: deps.writtenAt.get(uid), now });
  if (heldMs === 0) {
    if (await writeStatus(services, service, status, signal)) deps.writtenAt.set(uid, deps.clock.now());
    tell(deps, service, { before: cached, status, published });
  }
  const addressMs = exhausted.length > 0 ? VIRTUAL_IP_RETRY_MS : undefined;
  const waits = [turn.isCut ? 0 : undefined, plan.requeueAfterMs, lookAgainMs, addressMs, heldMs || undefined].filter(
    (wait) => wait !== undefined,
  );
  return waits.length === 0 ? {} : { requeueAfterMs: Math.max(1, Math.min(...waits)) };
}

/** A failure is new, or something follows from one. */
const isVerdict = (before: Update | undefined, { phase, failedSlots }: Update): boolean =>
  (failedSlots !== '' && failedSlots !== before?.failedSlots) ||
  (phase !== before?.phase && (phase === 'Paused' || phase === 'RollingBack' || phase === 'RollbackPaused'));

// It is written down before it is acted upon: the Container that failed may be gone or well then.
async function writeVerdict(
  { client, written }: ServiceDeps,
  { metadata }: Service,
  status: Pick<ServiceStatus, 'update' | 'revisions'>,
  signal: AbortSignal,
): Promise<Service> {
  const { name, namespace, resourceVersion, uid = '' } = metadata;
  const patch = { metadata: { resourceVersion }, status };
  const service = await client.kind(serviceKind).mergePatch(name, namespace, patch, { subresource: 'status' }, signal);
  written.set(uid, service);
  return service;
}

// A failure that was written down must not be forgotten because the cache does not show it yet.
function newest({ written }: ServiceDeps, seen: Service): Service {
  const { uid = '', resourceVersion = '0' } = seen.metadata;
  const ours = written.get(uid);
  if (ours && BigInt(ours.metadata.resourceVersion ?? '0') > BigInt(resourceVersion)) return ours;
  written.delete(uid);
  return seen;
}

async function create(
  deps: ServiceDeps,
  service: Service,
  { creation, revision }: { creation: Creation; revision: Revision },
  signal: AbortSignal,
): Promise<boolean> {
  const { name, wanted } = creation;
  const { slot } = wanted;
  const template = templateOf(revision) ?? service.spec.template;
  const count = deps.healed.get(service.metadata.uid ?? '')?.get(`${slot}/${revision.hash}`) ?? 0;
  const annotations = {
    ...template.metadata?.annotations,
    ...(count > 0 ? { [HEALED_ANNOTATION]: String(count) } : {}),
  };
  const child = {
    name,
    slot,
    revision: revision.hash,
    templateLabels: template.metadata?.labels,
    annotations,
    spec: specForSlot(service, template.spec, wanted),
  };
  await ensureSlotVolumes(deps.client, service, slot, signal);
  return createChild(deps, service, child, signal);
}

async function remove(
  { client, events, healed }: ServiceDeps,
  service: Service,
  { container, why }: Removal,
  signal: AbortSignal,
): Promise<void> {
  const { name, namespace, uid } = container.metadata;
  if (why === 'Failed') {
    const ofService = healed.get(service.metadata.uid ?? '') ?? new Map<string, number>();
    healed.set(service.metadata.uid ?? '', ofService.set(placeOf(service, container), nextHealed(container)));
  }
  const options = { ...(uid === undefined ? {} : { uid }), propagationPolicy: 'Background' } as const;
  await client.kind(containerKind).delete(name, namespace, options, signal);
  const { reason = 'Failed', exitCode = 'unknown' } = container.status ?? {};
  const texts = {
    ScaledDown:
      service.spec.mode === 'Global' ? 'none is wanted on its node any more' : `only ${service.spec.replicas} wanted`,
    Updated: 'another revision takes its place',
    Failed: `${reason}, exit code ${exitCode}: it is created anew`,
    Superfluous: 'its slot has another one',
  };
  const type = why === 'Failed' ? 'Warning' : 'Normal';
  events.record(service, { type, reason: 'SuccessfulDelete', message: `deleted Container ${name}: ${texts[why]}` });
}

const placeOf = (service: Service, child: Container): string =>
  `${slotNameOf(service, child) ?? ''}/${child.metadata.labels?.[REVISION_LABEL] ?? ''}`;

// The successor carries the number itself once it is there.
function forgetHealed({ healed }: ServiceDeps, service: Service, children: readonly Container[]): void {
  const ofService = healed.get(service.metadata.uid ?? '');
  if (!ofService) return;
  for (const child of children) {
    const place = placeOf(service, child);
    const count = ofService.get(place);
    if (count !== undefined && child.metadata.annotations?.[HEALED_ANNOTATION] === String(count))
      ofService.delete(place);
  }
}

/** Reasons of Progressing that are worth an Event. */
const NEWS: ReadonlySet<string> = new Set([
  'NameConflict',
  'RevisionNotFound',
  'Updating',
  'UpdatePaused',
  'RollingBack',
  'RollbackPaused',
  'RolledBack',
  'Complete',
]);
const BAD_NEWS: ReadonlySet<string> = new Set(['RollingBack', 'RolledBack']);

function tell(
  { events }: ServiceDeps,
  service: Service,
  { before, status, published }: { before: Service; status: ServiceStatus; published: PublishedPorts },
): void {
  const after = findCondition({ status }, 'Progressing');
  if (after && after.reason !== findCondition(before, 'Progressing')?.reason && NEWS.has(after.reason)) {
    const type = after.status === 'True' && !BAD_NEWS.has(after.reason) ? 'Normal' : 'Warning';
    events.record(service, { type, reason: after.reason, message: after.message });
  }
  const hadConflict = findCondition(before, 'Ready')?.reason === 'PortConflict';
  if (published.conflicts.length > 0 && !hadConflict) {
    events.record(service, { type: 'Warning', reason: 'PortConflict', message: published.conflicts.join(', ') });
  }
}
