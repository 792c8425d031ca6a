// Regular expressions from schemas and rules, matched in linear time with upstream's dialect (RE2).
import { RE2JS } from 're2js';
import { WindlassError, messageOf } from '../../lib/errors.ts';

export interface Pattern {
  /** True when any part of `text` matches. */
  matches(text: string): boolean;
  /** The first match; undefined when there is none. */
  find(text: string): string | undefined;
  /** All matches in order, at most `limit`. */
  findAll(text: string, limit: number): string[];
}

/** No pattern needs to be longer; compiling costs memory in proportion. */
const MAX_PATTERN_LENGTH = 10_000;

/** Compiles `source`; Invalid with the reason when it is not an RE2 expression. */
export function compilePattern(source: string): Pattern {
  if (source.length > MAX_PATTERN_LENGTH) {
    throw new WindlassError('Invalid', `the regular expression is longer than ${MAX_PATTERN_LENGTH} characters`);
  }
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(source);
  } catch (error) {
    throw new WindlassError('Invalid', messageOf(error), { cause: error });
  }
  return {
    matches: (text) => compiled.matcher(text).find(),
    find(text) {
      const matcher = compiled.matcher(text);
      return matcher.find() ? (matcher.group() ?? undefined) : undefined;
    },
    findAll(text, limit) {
      const found: string[] = [];
      const matcher = compiled.matcher(text);
      while (found.length < limit && matcher.find()) found.push(matcher.group() ?? '');
      return found;
    },
  };
}

/** A function that compiles each source once, for a bounded number of sources. */
export function createPatternCache(maxPatterns = 1000): (source: string) => Pattern {
  const known = new Map<string, Pattern>();
  return (source) => {
    let pattern = known.get(source);
    if (!pattern) {
      pattern = compilePattern(source);
      if (known.size >= maxPatterns) known.clear();
      known.set(source, pattern);
    }
    return pattern;
  };
}
