// The conditions Progressing and Updated: how far an update is and what it waits for.
import type { Container } from '../../crds/container.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { findCondition, type NewCondition } from '../runtime/conditions.ts';
import { isDeleting } from '../runtime/object-key.ts';
import { emptySlot, groupBySlot, isAvailable, isReady, readySinceMs } from './slots.ts';
import type { StatusInput } from './status.ts';
import { delayLeftMs, type Place } from './update-plan.ts';
import { gateSeconds, isFirst } from './update-state.ts';
import { orderOf, strategyOf } from './update-strategy.ts';

type Told = Pick<NewCondition, 'status' | 'reason' | 'message'>;

/**
 * Progressing is False when nothing goes on until a user does something. Updated is True when every Container has the
 * wanted template and passed: `kubectl wait --for=condition=Updated`.
 */
export function progressConditions(input: StatusInput): NewCondition[] {
  const progressing = progressOf(input);
  const { update, refusal } = input.decision;
  const { because } = orderOf(input.service);
  const isUpdated = update.phase === 'Completed' && refusal === undefined;
  const note = because === undefined ? '' : `; ${because}`;
  const updated = isUpdated
    ? { reason: 'Complete', message: `revision ${update.revision} is complete${failuresOf(input)}` }
    : { reason: progressing.reason, message: progressing.message };
  return [
    { type: 'Progressing', ...progressing, message: progressing.message + note },
    { type: 'Updated', status: isUpdated ? 'True' : 'False', reason: updated.reason, message: updated.message + note },
  ];
}

function failuresOf({ decision: { update } }: StatusInput): string {
  return update.failedSlots === '' ? '' : `, slots that failed: ${update.failedSlots}`;
}

function progressOf(input: StatusInput): Told {
  const { conflicts, children, decision, wanted, service, now } = input;
  const { update, refusal, target } = decision;
  if (conflicts.length > 0) {
    return {
      status: 'False',
      reason: 'NameConflict',
      message: `Container ${conflicts.join(', ')} exists and does not belong to this Service: delete or rename it`,
    };
  }
  if (refusal !== undefined) return { status: 'False', reason: 'RevisionNotFound', message: refusal };
  const slots = groupBySlot(service, children, target.hash);
  const places = wanted.map((one) => ({ wanted: one, ...(slots.get(one.slot) ?? emptySlot(one.slot)) }));
  const { minReadySeconds } = service.spec;
  const isThere = (child: Container): boolean => isAvailable(child, minReadySeconds, now);
  const done = places.filter(({ current }) => current.some(isThere)).length;
  const counts = `${done} of ${wanted.length} updated`;
  const { revision } = update;
  switch (update.phase) {
    case 'Paused':
      return {
        status: 'False',
        reason: 'UpdatePaused',
        message: `revision ${revision}: ${counts}, paused: ${update.message}`,
      };
    case 'RollbackPaused':
      return {
        status: 'False',
        reason: 'RollbackPaused',
        message: `${done} of ${wanted.length} back at revision ${revision}, paused: ${update.message}`,
      };
    case 'RollingBack':
      return {
        status: 'True',
        reason: 'RollingBack',
        message: `${done} of ${wanted.length} back at revision ${revision}${activity(places, input)}; ${update.message}`,
      };
    case 'Updating':
      if (isFirst(update)) break;
      return { status: 'True', reason: 'Updating', message: `${counts}${activity(places, input)}` };
    case 'Completed':
    case 'RolledBack':
  }
  const live = children.filter((child) => !isDeleting(child));
  if (update.phase === 'Updating' || done < wanted.length || children.length !== wanted.length) {
    const reason = live.length > wanted.length ? 'ScalingDown' : 'Scaling';
    return { status: 'True', reason, message: `${done} of ${wanted.length} available${activity(places, input)}` };
  }
  return update.phase === 'Completed'
    ? { status: 'True', reason: 'Complete', message: counts }
    : { status: 'True', reason: 'RolledBack', message: `back at revision ${revision}; ${update.message}` };
}

// What is waited for, as `, waiting for health of web-4`.
function activity(places: readonly Place[], { service, decision, now }: StatusInput): string {
  const gate = gateSeconds(service, decision.update);
  const open = places.filter(({ current }) => !current.some((child) => isAvailable(child, gate, now)));
  for (const { current, failed } of open) {
    const child = current[0] ?? failed[0];
    if (child && !(current[0] && isReady(current[0]))) return `, ${waitingFor(child)}`;
  }
  for (const { current } of open) {
    const since = current[0] && readySinceMs(current[0]);
    if (since !== undefined)
      return `, watching ${current[0]?.metadata.name ?? ''} until ${rfc3339(since + gate * 1000)}`;
  }
  const leaving = places.find(({ deleting }) => deleting.length > 0)?.deleting[0];
  if (leaving) return `, waiting for ${leaving.metadata.name} to stop`;
  const delayMs = delayLeftMs(places, strategyOf(service).delaySeconds, now);
  return open.length > 0 && delayMs > 0 ? `, the next one at ${rfc3339(now + delayMs)}` : '';
}

function waitingFor(child: Container): string {
  const { name } = child.metadata;
  const ready = findCondition(child, 'Ready');
  if (ready?.reason === 'Starting') return `waiting for health of ${name}`;
  const why = ready && [ready.reason, ready.message].filter(Boolean).join(', ');
  return `waiting for ${name}${why ? ` (${why})` : ''}`;
}
