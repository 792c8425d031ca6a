import { WindlassError } from '../../lib/errors.ts';
import { formatReference, parseReference } from '../../oci/reference.ts';

/** A tag to give: a digest names itself and cannot be given. */
export function normalizeTag(text: string): string {
  const reference = parseReference(text);
  if (reference.digest !== undefined) {
    throw new WindlassError(
      'Invalid',
      `invalid reference ${JSON.stringify(text)}: an image cannot be tagged with a digest`,
    );
  }
  return formatReference(reference);
}
