// An agent's refusal as an error of this server: same meaning, same words.
import { WindlassError, type Reason } from '../../lib/errors.ts';

const REASONS: Readonly<Record<number, Reason>> = {
  400: 'BadRequest',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  501: 'Unimplemented',
  503: 'Unavailable',
};

/** The error for an answer that is not what was asked for. */
export function agentError(status: number, body: string): WindlassError {
  return new WindlassError(
    REASONS[status] ?? 'Internal',
    body.trim().slice(0, 1024) || `the node agent answered ${status}`,
  );
}
