// The failures of the API in upstream's words, as errors to throw.
import { WindlassError, type ErrorCause } from '../../lib/errors.ts';
import type { Attributes } from '../auth/authorize.ts';
import type { User } from '../auth/user.ts';
import { qualifiedName } from '../resources/registry.ts';
import type { Resource } from '../resources/resource.ts';
import { describeFieldError, type FieldError } from '../schema/field-error.ts';

type Named = Pick<Resource, 'group' | 'plural'>;

const detailsOf = (resource: Named, name: string) => ({ name, group: resource.group, kind: resource.plural });

/** Instead of "not found" while the server starts: a client must not take it for the absence of its objects. */
export function notServedYet(): WindlassError {
  return new WindlassError('Unavailable', 'the server is starting, and the store is not loaded yet: try again');
}

export function notFound(resource: Named, name: string): WindlassError {
  return new WindlassError('NotFound', `${qualifiedName(resource)} "${name}" not found`, {
    details: detailsOf(resource, name),
  });
}

export function alreadyExists(resource: Named, name: string): WindlassError {
  return new WindlassError('AlreadyExists', `${qualifiedName(resource)} "${name}" already exists`, {
    details: detailsOf(resource, name),
  });
}

export function conflict(resource: Named, name: string, why: string): WindlassError {
  return new WindlassError(
    'Conflict',
    `Operation cannot be fulfilled on ${qualifiedName(resource)} "${name}": ${why}`,
    { details: detailsOf(resource, name) },
  );
}

export const OBJECT_MODIFIED =
  'the object has been modified; please apply your changes to the latest version and try again';

/** Invalid with one cause per broken rule: `Container.windlass.dev "x" is invalid: spec.image: Required value`. */
export function invalid(
  resource: { readonly group: string; readonly kind: string },
  name: string,
  errors: readonly FieldError[],
): WindlassError {
  const kind = resource.group === '' ? resource.kind : `${resource.kind}.${resource.group}`;
  const causes: ErrorCause[] = errors.map((error) => ({
    reason: error.type,
    message: describeFieldError(error),
    field: error.field,
  }));
  const texts = [...new Set(causes.map((cause) => `${cause.field}: ${cause.message}`))];
  const text = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  return new WindlassError('Invalid', `${kind} "${name}" is invalid: ${text}`, {
    details: { name, group: resource.group, kind: resource.kind, causes },
  });
}

/** A verb on a resource that `user` may not do; `reason` is added when it is not empty. */
export function forbidden(user: User, attributes: Attributes, reason: string): WindlassError {
  const { group, resource, subresource, verb, namespace, name } = attributes;
  const what = subresource === '' ? resource : `${resource}/${subresource}`;
  const named = name === '' ? '' : ` "${name}"`;
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  const message =
    `${qualifiedName({ group, plural: resource })}${named} is forbidden: User "${user.name}" cannot ${verb} resource ` +
    `"${what}" in API group "${group}" ${where}${reason === '' ? '' : `: ${reason}`}`;
  return new WindlassError('Forbidden', message, {
    details: { ...(name === '' ? {} : { name }), group, kind: resource },
  });
}

export function methodNotAllowed(
  message = 'the server does not allow this method on the requested resource',
): WindlassError {
  return new WindlassError('MethodNotAllowed', message);
}

/** A write of something that only shows what is stored as something else. */
export function viewIsReadOnly(view: Named, stored: Named): WindlassError {
  const message = `${qualifiedName(view)} are a read-only view of ${qualifiedName(stored)}: write those instead`;
  return new WindlassError('MethodNotAllowed', message);
}

export function pathNotFound(): WindlassError {
  return new WindlassError('NotFound', 'the server could not find the requested resource');
}

export function badRequest(message: string, cause?: unknown): WindlassError {
  return new WindlassError('BadRequest', message, cause === undefined ? {} : { cause });
}
