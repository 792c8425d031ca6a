// proto3 has no required fields: what a call cannot do without is asked for by name.
import { WindlassError } from '../lib/errors.ts';

/** `value`, or Invalid naming the missing field (`config.metadata`). */
export function requireField<T>(value: T | null | undefined, field: string): T {
  if (value === null || value === undefined || value === '') {
    throw new WindlassError('Invalid', `${field}: Required value`, {
      details: { causes: [{ reason: 'FieldValueRequired', message: 'Required value', field }] },
    });
  }
  return value;
}
