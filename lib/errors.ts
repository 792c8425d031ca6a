// The one error type of windlass. Every failure that crosses a module border is a WindlassError whose reason is one
// of the Kubernetes words; the four edges (Status, gRPC, OCI distribution, Docker JSON) each map it once.

/** What went wrong, in Kubernetes' vocabulary (metav1.StatusReason). */
export const REASONS = [
  'BadRequest',
  'Unauthorized',
  'Forbidden',
  'NotFound',
  'AlreadyExists',
  'Conflict',
  'Invalid',
  'Expired',
  'Gone',
  'MethodNotAllowed',
  'NotAcceptable',
  'UnsupportedMediaType',
  'RequestEntityTooLarge',
  'TooManyRequests',
  'Timeout',
  'Unavailable',
  'Unimplemented',
  'Internal',
] as const;
export type Reason = (typeof REASONS)[number];

/** One named cause inside a larger failure: which field, which layer, which port. */
export interface ErrorCause {
  /** Machine word, e.g. `FieldValueInvalid`, `NamespaceTerminating`. */
  readonly reason: string;
  readonly message: string;
  /** Path of the field, e.g. `spec.ports[1].hostPort`. */
  readonly field?: string;
}

export interface ErrorDetails {
  readonly causes?: readonly ErrorCause[];
  /** Facts for the reader, e.g. `{ kind: 'Container', name: 'web' }`. No secrets. */
  readonly [key: string]: unknown;
}

export class WindlassError extends Error {
  override readonly name = 'WindlassError';
  readonly reason: Reason;
  readonly details: ErrorDetails;

  constructor(reason: Reason, message: string, options: { details?: ErrorDetails; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = reason;
    this.details = options.details ?? {};
  }
}

/**
 * Thrown by a reconcile step that retrying cannot help (a spec that can never work): the loop stops retrying until
 * the object changes. `conditionReason` is the CamelCase word shown in the object's Ready condition.
 */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
  readonly conditionReason: string;

  constructor(conditionReason: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.conditionReason = conditionReason;
  }
}

/** The reason of the first WindlassError in the chain of causes; undefined when there is none. */
export function reasonOf(error: unknown): Reason | undefined {
  let current: unknown = error;
  for (let depth = 0; depth < 16 && current instanceof Error; depth += 1) {
    if (current instanceof WindlassError) return current.reason;
    current = current.cause;
  }
  return undefined;
}

export const isNotFound = (error: unknown): boolean => reasonOf(error) === 'NotFound';
export const isAlreadyExists = (error: unknown): boolean => reasonOf(error) === 'AlreadyExists';
export const isConflict = (error: unknown): boolean => reasonOf(error) === 'Conflict';
export const isExpired = (error: unknown): boolean => reasonOf(error) === 'Expired' || reasonOf(error) === 'Gone';
export const isUnavailable = (error: unknown): boolean => reasonOf(error) === 'Unavailable';

/** True when `error` is a cancellation (an aborted signal), not a fault. */
export function isAbort(error: unknown): boolean {
  return (
    error instanceof Error && (error.name === 'AbortError' || (error as NodeJS.ErrnoException).code === 'ABORT_ERR')
  );
}

/** The message of anything that can be thrown, for a condition or a log line. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The errno name (`ENOENT`) of a system error; undefined for anything else. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = (error as NodeJS.ErrnoException).code;
  return typeof code === 'string' ? code : undefined;
}
