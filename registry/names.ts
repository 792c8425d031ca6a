// Names of repositories and tags, as the distribution specification writes them. They become file names, so everything
// else is refused where it is parsed.
import { WindlassError } from '../lib/errors.ts';
import { isRepositoryComponent, MAX_NAME_LENGTH } from '../oci/reference.ts';

export { isTag } from '../oci/reference.ts';

/** True for a repository name such as `shop/web`. */
export function isRepositoryName(text: string): boolean {
  return text.length <= MAX_NAME_LENGTH && text.split('/').every(isRepositoryComponent);
}

/** The name itself; NAME_INVALID says what a name looks like. */
export function parseRepositoryName(text: string): string {
  if (isRepositoryName(text)) return text;
  const shown = JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}...` : text);
  throw new WindlassError(
    'Invalid',
    `invalid repository name ${shown}: want at most ${MAX_NAME_LENGTH} characters of lower-case letters and digits, with single separators ". _ __ -" between them and "/" between components`,
    { details: { code: 'NAME_INVALID' } },
  );
}
