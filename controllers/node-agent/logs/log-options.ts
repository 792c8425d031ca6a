// What a reader of logs may ask, in the words of v1 PodLogOptions.
import { WindlassError } from '../../../lib/errors.ts';

export interface LogOptions {
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  readonly tailLines?: number;
  readonly limitBytes?: number;
  /** Milliseconds since the epoch; older lines are left out. */
  readonly sinceMs?: number;
}

/** Reads the query of a log request. Throws BadRequest naming the parameter. */
export function parseLogOptions(query: URLSearchParams, nowMs: number): LogOptions {
  const sinceSeconds = integer(query, 'sinceSeconds', 1);
  const sinceTime = query.get('sinceTime');
  if (sinceSeconds !== undefined && sinceTime) {
    throw new WindlassError('BadRequest', 'at most one of sinceTime or sinceSeconds may be specified');
  }
  const sinceTimeMs = sinceTime ? Date.parse(sinceTime) : undefined;
  if (sinceTimeMs !== undefined && Number.isNaN(sinceTimeMs)) {
    throw new WindlassError('BadRequest', `invalid sinceTime ${JSON.stringify(sinceTime)}: want an RFC 3339 time`);
  }
  const sinceMs = sinceSeconds === undefined ? sinceTimeMs : nowMs - sinceSeconds * 1000;
  const tailLines = integer(query, 'tailLines', 0);
  const limitBytes = integer(query, 'limitBytes', 1);
  return {
    follow: flag(query, 'follow'),
    previous: flag(query, 'previous'),
    timestamps: flag(query, 'timestamps'),
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
    ...(sinceMs === undefined ? {} : { sinceMs }),
  };
}

function flag(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  if (value === null || value === 'false' || value === '0') return false;
  if (value === '' || value === 'true' || value === '1') return true;
  throw new WindlassError('BadRequest', `invalid ${name} ${JSON.stringify(value)}: want true or false`);
}

function integer(query: URLSearchParams, name: string, minimum: number): number | undefined {
  const value = query.get(name);
  if (value === null || value === '') return undefined;
  const number = Number(value);
  // kubectl sends -1 for "all lines".
  if (name === 'tailLines' && number === -1) return undefined;
  if (!/^-?\d{1,15}$/.test(value) || number < minimum) {
    throw new WindlassError(
      'BadRequest',
      `invalid ${name} ${JSON.stringify(value)}: must be a whole number of at least ${minimum}`,
    );
  }
  return number;
}
