// Acts on the plan of a Job: starts and ends its Containers, then says how far it is.
import { containerKind, type ContainerSpec } from '../../crds/container.ts';
import { serviceKind, type Service } from '../../crds/service.ts';
import { findCondition } from '../runtime/conditions.ts';
import { forEachLimit } from '../runtime/fan-out.ts';
import { keyOf } from '../runtime/object-key.ts';
import type { Result } from '../runtime/reconciler.ts';
import { writeStatus } from '../runtime/write.ts';
import { createChild, isForeign, PARALLEL_WRITES, takeTurn } from './create-child.ts';
import { planJob, TRY_LABEL, type JobRemoval } from './job-plan.ts';
import { planJobStatus } from './job-status.ts';
import { planPublishedPorts } from './published-ports.ts';
import type { ServiceDeps } from './reconcile.ts';
import { hashTemplate } from './revision.ts';
import { VIRTUAL_IP_RETRY_MS } from './virtual-ips.ts';

/** Brings the Job on: as many tries as it may have now, until enough of them ended well or too many did not. */
export async function reconcileJob(deps: ServiceDeps, service: Service, signal: AbortSignal): Promise<Result> {
  const { template } = service.spec;
  const revision = hashTemplate(template);
  const now = deps.clock.now();
  const plan = planJob({
    service,
    children: deps.childrenOf.get(service.metadata.uid ?? ''),
    now,
    isForeign: (name) => isForeign(deps, service, name),
  });
  const conflicts = [...plan.conflicts];
  const turn = takeTurn(plan);
  await forEachLimit(turn.remove, PARALLEL_WRITES, (removal) => removeTry(deps, service, removal, signal));
  await forEachLimit(turn.create, PARALLEL_WRITES, async ({ name, slot, attempt }) => {
    const { annotations, labels: templateLabels } = template.metadata ?? {};
    const labels = { [TRY_LABEL]: String(attempt) };
    const child = {
      name,
      slot: String(slot),
      revision,
      templateLabels,
      labels,
      annotations,
      spec: trySpec(template.spec),
    };
    if (!(await createChild(deps, service, child, signal))) conflicts.push(name);
  });
  const exhausted = deps.virtualIps.exhausted(service);
  const status = planJobStatus({
    service,
    progress: plan.progress,
    conflicts,
    virtualIPs: deps.virtualIps.allocate(service),
    exhausted,
    published: planPublishedPorts(
      service,
      (port) => deps.servicesByPort.get(port),
      deps.nodesInConflict.get(keyOf(service)),
    ),
    now,
  });
  await writeStatus(deps.client.kind(serviceKind), service, status, signal);
  const before = findCondition(service, 'Progressing')?.reason;
  const after = findCondition({ status }, 'Progressing');
  if (after && after.reason !== before && after.reason !== 'Running') {
    const type = after.reason === 'Complete' ? 'Normal' : 'Warning';
    deps.events.record(service, { type, reason: after.reason, message: after.message });
  }
  const addressMs = exhausted.length > 0 && plan.progress.outcome === 'Running' ? VIRTUAL_IP_RETRY_MS : undefined;
  const waits = [turn.isCut ? 0 : undefined, plan.requeueAfterMs, addressMs].filter((wait) => wait !== undefined);
  return waits.length === 0 ? {} : { requeueAfterMs: Math.max(1, Math.min(...waits)) };
}

// A Container that starts again whatever it ended with never finishes. ttlSecondsAfterFinished is kept by the Job: the
// Container would be gone before its end is written down.
function trySpec(template: ContainerSpec): ContainerSpec {
  const spec = { ...template };
  delete spec.ttlSecondsAfterFinished;
  if (spec.restartPolicy === 'Always') spec.restartPolicy = 'Never';
  return spec;
}

async function removeTry(
  { client, events }: ServiceDeps,
  service: Service,
  { container, why }: JobRemoval,
  signal: AbortSignal,
): Promise<void> {
  const { name, namespace, uid, resourceVersion } = container.metadata;
  // One that came to its end meanwhile stays: the version is a precondition.
  const preconditions = { ...(uid ? { uid } : {}), ...(resourceVersion ? { resourceVersion } : {}) };
  await client
    .kind(containerKind)
    .delete(name, namespace, { ...preconditions, propagationPolicy: 'Background' }, signal);
  const texts = {
    ScaledDown: 'fewer may run at the same time',
    JobOver: 'the Job is over',
    Superfluous: 'its slot is done or has another one',
    Expired: 'its ttlSecondsAfterFinished is over',
  };
  const message = `deleted Container ${name}: ${texts[why]}`;
  events.record(service, { type: 'Normal', reason: 'SuccessfulDelete', message });
}
