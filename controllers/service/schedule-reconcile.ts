// Acts on the plan of a schedule: starts a run when it is due, removes old ones, says when the next one comes.
import { serviceKind, type Service } from '../../crds/service.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { isAlreadyExists, messageOf, TerminalError } from '../../lib/errors.ts';
import { findCondition } from '../runtime/conditions.ts';
import { controllerReference, isControlledBy } from '../runtime/object-key.ts';
import type { Result } from '../runtime/reconciler.ts';
import { writeStatus } from '../runtime/write.ts';
import type { ServiceDeps } from './reconcile.ts';
import { planSchedule, SCHEDULED_AT_ANNOTATION, type SchedulePlan } from './schedule-plan.ts';
import { planScheduleStatus } from './schedule-status.ts';
import { scheduleTimes } from './schedule-times.ts';

/** On a run: the Service whose schedule started it. */
export const SCHEDULE_LABEL = 'windlass.dev/schedule';
/** A run adds the minute it was due, and its name is the value of a label. */
const LONGEST_NAME = 52;

/** Starts and removes runs of `service` as its schedule says. */
export async function reconcileSchedule(deps: ServiceDeps, service: Service, signal: AbortSignal): Promise<Result> {
  const { schedule } = service.spec;
  const { name, namespace, uid = '' } = service.metadata;
  if (!schedule) return {};
  if (name.length > LONGEST_NAME) {
    throw new TerminalError(
      'InvalidName',
      `metadata.name: ${name} has ${name.length} characters: a Service with a schedule may have ${LONGEST_NAME}`,
    );
  }
  const services = deps.client.kind(serviceKind);
  const runs = deps.runsOf.get(uid);
  const now = deps.clock.now();
  const plan = planSchedule({ service, runs, times: scheduleTimes(schedule), now });
  for (const { run, why } of plan.remove) {
    const options = {
      ...(run.metadata.uid ? { uid: run.metadata.uid } : {}),
      propagationPolicy: 'Background',
    } as const;
    await services.delete(run.metadata.name, namespace, options, signal);
    const because = why === 'Replaced' ? 'the next one is due' : `only ${schedule.historyLimit} finished ones are kept`;
    deps.events.record(service, {
      type: 'Normal',
      reason: 'SuccessfulDelete',
      message: `deleted run ${run.metadata.name}: ${because}`,
    });
  }
  const isStarted = plan.start !== undefined && (await startRun(deps, service, plan.start, signal));
  if (isStarted && plan.start && plan.missed) {
    deps.events.record(service, {
      type: 'Warning',
      reason: 'MissedSchedule',
      message: `times before ${rfc3339(plan.start.dueAt)} were missed and are not run`,
    });
  }
  const conflict = isStarted ? undefined : plan.start?.name;
  const status = planScheduleStatus({ service, runs, plan, now, ...(conflict === undefined ? {} : { conflict }) });
  await writeStatus(services, service, status, signal);
  const after = findCondition({ status }, 'Progressing');
  const isNews = after && after.reason !== findCondition(service, 'Progressing')?.reason;
  if (isNews && ['Held', 'Missed', 'NameConflict'].includes(after.reason)) {
    deps.events.record(service, { type: 'Warning', reason: after.reason, message: after.message });
  }
  return { requeueAfterMs: plan.requeueAfterMs };
}

/** Creates the Service of a run; false when the name belongs to somebody else. */
async function startRun(
  { client, events }: ServiceDeps,
  service: Service,
  { name, dueAt }: NonNullable<SchedulePlan['start']>,
  signal: AbortSignal,
): Promise<boolean> {
  const services = client.kind(serviceKind);
  const spec = { ...service.spec };
  delete spec.schedule;
  const run = {
    metadata: {
      name,
      namespace: service.metadata.namespace ?? '',
      labels: { ...service.metadata.labels, [SCHEDULE_LABEL]: service.metadata.name },
      annotations: { [SCHEDULED_AT_ANNOTATION]: rfc3339(dueAt) },
      ownerReferences: [controllerReference(serviceKind, service)],
    },
    spec,
  };
  try {
    await services.create(run, signal);
  } catch (error) {
    if (!isAlreadyExists(error)) {
      const message = `cannot create run ${name}: ${messageOf(error)}`;
      events.record(service, { type: 'Warning', reason: 'FailedCreate', message });
      throw error;
    }
    // Started already, perhaps, by an earlier call that could not write it down.
    const existing = await services.get(name, run.metadata.namespace, signal);
    return existing !== undefined && isControlledBy(existing, service);
  }
  events.record(service, { type: 'Normal', reason: 'SuccessfulCreate', message: `started run ${name}` });
  return true;
}
