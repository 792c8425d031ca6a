// policy/v1 PodDisruptionBudget: how many of some Containers may be missing by somebody's choice.
import { limitsOf, type DisruptionBudget } from '../../../crds/disruption-budget.ts';
import type { FieldError } from '../../schema/field-error.ts';
import { validateLabelSelector } from '../../schema/label-selector.ts';
import type { StructuralSchema } from '../../schema/structural.ts';
import type { Resource } from '../resource.ts';
import { defineBuiltin } from './define.ts';

const POLICIES = ['IfHealthyBudget', 'AlwaysAllow'];

/** The resource; its status is written by the disruption controller, and by each eviction that it grants. */
export function disruptionBudgetResource(schema: StructuralSchema): Resource {
  return defineBuiltin({
    group: 'policy',
    version: 'v1',
    kind: 'PodDisruptionBudget',
    plural: 'poddisruptionbudgets',
    shortNames: ['pdb'],
    namespaced: true,
    status: true,
    schema,
    validate: (object) => validateSpec(object as unknown as DisruptionBudget),
  });
}

function validateSpec(budget: DisruptionBudget): FieldError[] {
  const { minAvailable, maxUnavailable } = limitsOf(budget);
  const { selector, unhealthyPodEvictionPolicy } = budget.spec ?? {};
  const policy = unhealthyPodEvictionPolicy ?? undefined;
  const errors: FieldError[] = [];
  if (minAvailable !== undefined && maxUnavailable !== undefined) {
    const detail = 'minAvailable and maxUnavailable cannot be both set';
    errors.push({ type: 'FieldValueInvalid', field: 'spec', value: { minAvailable, maxUnavailable }, detail });
  }
  errors.push(...validateLimit('spec.minAvailable', minAvailable));
  errors.push(...validateLimit('spec.maxUnavailable', maxUnavailable));
  if (selector) errors.push(...validateLabelSelector('spec.selector', selector));
  if (policy !== undefined && !POLICIES.includes(policy)) {
    const detail = `supported values: ${POLICIES.map((one) => `"${one}"`).join(', ')}`;
    errors.push({ type: 'FieldValueNotSupported', field: 'spec.unhealthyPodEvictionPolicy', value: policy, detail });
  }
  return errors;
}

function validateLimit(field: string, value: number | string | undefined): FieldError[] {
  const refuse = (detail: string): FieldError[] => [{ type: 'FieldValueInvalid', field, value, detail }];
  if (value === undefined) return [];
  if (typeof value === 'number') return value < 0 ? refuse('must be greater than or equal to 0') : [];
  const percent = /^(\d+)%$/.exec(value)?.[1];
  if (percent === undefined) {
    return refuse("a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%' or '93%')");
  }
  return Number(percent) > 100 ? refuse('must not be greater than 100%') : [];
}
