// Names of repositories and tags, as the distribution specification writes them. They become file names, so everything
// else is refused where it is parsed.
import { WindlassError } from '../lib/errors.ts';

const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** Longest name: clients bound it together with the host and a slash, which they then run into themselves. */
const MAX_REPOSITORY_LENGTH = 255;

/** True for a repository name such as `shop/web`. */
export function isRepositoryName(text: string): boolean {
  return text.length <= MAX_REPOSITORY_LENGTH && REPOSITORY.test(text);
}

/** True for a tag: 1 to 128 characters. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** The name itself; NAME_INVALID says what a name looks like. */
export function parseRepositoryName(text: string): string {
  if (isRepositoryName(text)) return text;
  const shown = JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}...` : text);
  throw new WindlassError(
    'Invalid',
    `invalid repository name ${shown}: want at most ${MAX_REPOSITORY_LENGTH} characters of lower-case letters and digits, with single separators ". _ __ -" between them and "/" between components`,
    { details: { code: 'NAME_INVALID' } },
  );
}
