// The rules of metav1.LabelSelector, in upstream's words.
import type { LabelSelector } from '../../crds/label-selector.ts';
import { isLabelKey, isLabelValue } from '../routes/selectors.ts';
import type { FieldError } from './field-error.ts';

const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'];

/** What is wrong with the selector at `path`. */
export function validateLabelSelector(path: string, { matchLabels, matchExpressions }: LabelSelector): FieldError[] {
  const errors: FieldError[] = [];
  const check = (isFine: boolean, field: string, value: string, what: string): void => {
    const detail = `a valid label ${what} is at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends${what === 'key' ? ", after an optional DNS prefix and '/'" : ', or empty'}`;
    if (!isFine) errors.push({ type: 'FieldValueInvalid', field, value, detail });
  };
  for (const [key, value] of Object.entries(matchLabels ?? {})) {
    check(isLabelKey(key), `${path}.matchLabels`, key, 'key');
    check(isLabelValue(value), `${path}.matchLabels`, value, 'value');
  }
  for (const [index, { key, operator, values }] of (matchExpressions ?? []).entries()) {
    const field = `${path}.matchExpressions[${index}]`;
    check(isLabelKey(key), `${field}.key`, key, 'key');
    const hasValues = (values ?? []).length > 0;
    if (!OPERATORS.includes(operator)) {
      const detail = 'not a valid selector operator';
      errors.push({ type: 'FieldValueInvalid', field: `${field}.operator`, value: operator, detail });
    } else if (operator === 'In' || operator === 'NotIn') {
      const detail = "must be specified when `operator` is 'In' or 'NotIn'";
      if (!hasValues) errors.push({ type: 'FieldValueRequired', field: `${field}.values`, detail });
    } else if (hasValues) {
      const detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
      errors.push({ type: 'FieldValueForbidden', field: `${field}.values`, detail });
    }
    for (const [at, value] of (values ?? []).entries()) {
      check(isLabelValue(value), `${field}.values[${at}]`, value, 'value');
    }
  }
  return errors;
}
