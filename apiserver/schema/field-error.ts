// A rule of a field that a request broke, in upstream's words (k8s.io/apimachinery field.Error).

export type FieldErrorType =
  | 'FieldValueRequired'
  | 'FieldValueInvalid'
  | 'FieldValueDuplicate'
  | 'FieldValueNotSupported'
  | 'FieldValueForbidden'
  | 'FieldValueTooLong'
  | 'FieldValueTooMany'
  | 'FieldValueTypeInvalid'
  | 'FieldValueNotFound';

export interface FieldError {
  readonly type: FieldErrorType;
  /** Dotted path with indexes: `spec.ports[1].hostPort`. */
  readonly field: string;
  /** The offending value; shown as JSON for the types that show one. */
  readonly value?: unknown;
  readonly detail: string;
}

const LABELS: Readonly<Record<FieldErrorType, string>> = {
  FieldValueRequired: 'Required value',
  FieldValueInvalid: 'Invalid value',
  FieldValueDuplicate: 'Duplicate value',
  FieldValueNotSupported: 'Unsupported value',
  FieldValueForbidden: 'Forbidden',
  FieldValueTooLong: 'Too long',
  FieldValueTooMany: 'Too many',
  FieldValueTypeInvalid: 'Invalid value',
  FieldValueNotFound: 'Not found',
};

/** The cause message without the path: `Invalid value: 70000: ... should be less than or equal to 65535`. */
export function describeFieldError(error: FieldError): string {
  const label = LABELS[error.type];
  const showsValue =
    error.type !== 'FieldValueRequired' && error.type !== 'FieldValueForbidden' && error.type !== 'FieldValueTooLong';
  const shown =
    error.value !== null && typeof error.value === 'object'
      ? JSON.stringify(error.value)
      : JSON.stringify(error.value ?? null);
  const parts = [label, ...(showsValue ? [shown] : []), ...(error.detail === '' ? [] : [error.detail])];
  return parts.join(': ');
}
