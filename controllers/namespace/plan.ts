// How a namespace that is being deleted says what keeps it.
import type { NamespaceCondition } from '../../crds/builtin.ts';
import { rfc3339 } from '../../lib/clock.ts';

/** What is left of one kind. */
export interface Remainder {
  /** `plural.group`, as kubectl takes it. */
  readonly resource: string;
  readonly objects: readonly { readonly name: string; readonly finalizers: readonly string[] }[];
}

export interface NamespaceObserved {
  readonly remainders: readonly Remainder[];
  /** Groups that could not be discovered, and kinds that could not be emptied, with the error. */
  readonly discoveryFailures: readonly string[];
  readonly deletionFailures: readonly string[];
  readonly now: number;
}

const MAX_NAMES = 3;

/** The five conditions that upstream's clients know, each naming the culprits. */
export function planNamespaceConditions(
  current: readonly NamespaceCondition[] | undefined,
  { remainders, discoveryFailures, deletionFailures, now }: NamespaceObserved,
): NamespaceCondition[] {
  const left = remainders.filter(({ objects }) => objects.length > 0);
  const finalizers = countFinalizers(left);
  const wanted: Omit<NamespaceCondition, 'lastTransitionTime'>[] = [
    condition('NamespaceDeletionDiscoveryFailure', discoveryFailures.length > 0, {
      bad: ['DiscoveryFailed', `cannot find out which kinds there are: ${discoveryFailures.join('; ')}`],
      good: ['ResourcesDiscovered', 'all kinds are known'],
    }),
    condition('NamespaceDeletionGroupVersionParsingFailure', false, {
      bad: ['GroupVersionParsingFailed', ''],
      good: ['ParsedGroupVersions', 'all group versions are readable'],
    }),
    condition('NamespaceDeletionContentFailure', deletionFailures.length > 0, {
      bad: ['ContentDeletionFailed', `cannot delete some objects: ${deletionFailures.join('; ')}`],
      good: ['ContentDeleted', 'all objects are deleted, or will be when their finalizers are done'],
    }),
    condition('NamespaceContentRemaining', left.length > 0, {
      bad: ['SomeResourcesRemain', `still there: ${left.map(describeRemainder).join('; ')}`],
      good: ['ContentRemoved', 'nothing is left'],
    }),
    condition('NamespaceFinalizersRemaining', finalizers.size > 0, {
      bad: [
        'SomeFinalizersRemain',
        `waiting for ${[...finalizers].map(([name, count]) => `${name} on ${count} object(s)`).join(', ')}`,
      ],
      good: ['ContentHasNoFinalizers', 'no finalizer is left'],
    }),
  ];
  return wanted.map((next) => {
    const old = current?.find(({ type }) => type === next.type);
    return {
      ...next,
      lastTransitionTime: old?.status === next.status ? (old.lastTransitionTime ?? rfc3339(now)) : rfc3339(now),
    };
  });
}

function condition(
  type: string,
  isBad: boolean,
  texts: { bad: readonly [string, string]; good: readonly [string, string] },
): Omit<NamespaceCondition, 'lastTransitionTime'> {
  const [reason, message] = isBad ? texts.bad : texts.good;
  return { type, status: isBad ? 'True' : 'False', reason, message };
}

function describeRemainder({ resource, objects }: Remainder): string {
  const names = objects.slice(0, MAX_NAMES).map(({ name }) => name);
  const more = objects.length - names.length;
  return `${objects.length} ${resource} (${names.join(', ')}${more > 0 ? ` and ${more} more` : ''})`;
}

function countFinalizers(remainders: readonly Remainder[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const finalizer of remainders.flatMap(({ objects }) => objects.flatMap(({ finalizers }) => finalizers))) {
    counts.set(finalizer, (counts.get(finalizer) ?? 0) + 1);
  }
  return counts;
}
