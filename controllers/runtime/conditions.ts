// Conditions as data: a list in, a list out, with lastTransitionTime kept while the status does not change.
import { rfc3339 } from '../../lib/clock.ts';

/** A condition as any kind's status has it. */
export interface ConditionLike {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason: string;
  message: string;
  lastTransitionTime: string;
  observedGeneration?: number | undefined;
}

/** Anything that may carry conditions. */
export interface Conditioned {
  status?: { conditions?: readonly ConditionLike[] | undefined } | undefined;
}

export interface NewCondition {
  readonly type: string;
  readonly status: ConditionLike['status'];
  readonly reason: string;
  readonly message: string;
}

/** `conditions` with `wanted` set or added, in stable order. */
export function setConditions(
  conditions: readonly ConditionLike[] | undefined,
  wanted: readonly NewCondition[],
  { now, generation }: { now: number; generation: number | undefined },
): ConditionLike[] {
  const result = [...(conditions ?? [])];
  for (const next of wanted) {
    const index = result.findIndex(({ type }) => type === next.type);
    const old = result[index];
    const condition: ConditionLike = {
      ...next,
      lastTransitionTime: old && old.status === next.status ? old.lastTransitionTime : rfc3339(now),
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
    if (index >= 0) result[index] = condition;
    else result.push(condition);
  }
  return result;
}

/** The condition of `type`, if there. */
export function findCondition(object: Conditioned, type: string): ConditionLike | undefined {
  return object.status?.conditions?.find((condition) => condition.type === type);
}

export const isConditionTrue = (
  {
    status,
  }: {
    readonly status?:
      | { readonly conditions?: readonly Pick<ConditionLike, 'type' | 'status'>[] | undefined }
      | undefined;
  },
  type: string,
): boolean => status?.conditions?.find((condition) => condition.type === type)?.status === 'True';

/**
 * True when writing `next` over `current` changes nothing a reader could see. Fields that are undefined, or null as in a
 * patch that takes them away, count as absent, and fields that only `current` has belong to another writer.
 */
export function isSameStatus(current: object | undefined, next: object): boolean {
  const have = (current ?? {}) as Record<string, unknown>;
  return Object.entries(next).every(([field, value]) => isSameValue(have[field], value));
}

function isSameValue(one: unknown, other: unknown): boolean {
  const [a, b] = [one ?? undefined, other ?? undefined];
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [a, b] as Record<string, unknown>[] as [Record<string, unknown>, Record<string, unknown>];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].every((key) => isSameValue(left[key], right[key]));
}
