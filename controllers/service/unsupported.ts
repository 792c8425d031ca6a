// Fields of a Service that are refused by name until their part is built.
import type { Service } from '../../crds/service.ts';

/** The first field that cannot be honoured yet. */
export function findUnsupportedField({ spec }: Service): string | undefined {
  if (spec.mode === 'Global') return `spec.mode: ${spec.mode}`;
  if (spec.autoscale) return 'spec.autoscale';
  if (spec.rollbackTo !== undefined) return 'spec.rollbackTo';
  if (spec.updateStrategy?.failureAction === 'Rollback') return 'spec.updateStrategy.failureAction: Rollback';
  return undefined;
}
