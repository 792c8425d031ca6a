// The patterns of `${NAME#pattern}` and its kin: `*` and `?`, no brackets. Matched in linear time, as both pattern and
// value come from outside.
import { RE2JS } from 're2js';
import { Problem } from './problem.ts';

const MAX_PATTERN = 1000;

/** The value without the shortest (or longest) beginning that the pattern matches. Throws Problem for a bad pattern. */
export function trimPrefix(value: string, pattern: string, isLongest: boolean): string {
  const matcher = compile(pattern, { isLongest, isAnchored: true }).matcher(value);
  return matcher.find() ? value.slice(matcher.end()) : value;
}

/** The value without the shortest (or longest) end that the pattern matches. Throws Problem for a bad pattern. */
export function trimSuffix(value: string, pattern: string, isLongest: boolean): string {
  // "Shortest from the right" is "shortest from the left" of everything in reverse.
  return reverse(trimPrefix(reverse(value), reversePattern(pattern), isLongest));
}

/** The value with the first (or every) longest match of the pattern replaced. Throws Problem for a bad pattern. */
export function replacePattern(value: string, pattern: string, replacement: string, isGlobal: boolean): string {
  const matcher = compile(pattern, { isLongest: true, isAnchored: false }).matcher(value);
  const parts: string[] = [];
  let from = 0;
  while (matcher.find()) {
    parts.push(value.slice(from, matcher.start()), replacement);
    from = matcher.end();
    if (!isGlobal) break;
  }
  parts.push(value.slice(from));
  return parts.join('');
}

function compile(pattern: string, { isLongest, isAnchored }: { isLongest: boolean; isAnchored: boolean }): RE2JS {
  if (pattern.length > MAX_PATTERN) throw new Problem(`the pattern has more than ${MAX_PATTERN} characters`);
  const parts = [isAnchored ? '^' : ''];
  for (let at = 0; at < pattern.length; at += 1) {
    const character = pattern[at] ?? '';
    if (character === '*') parts.push(isLongest ? '.*' : '.*?');
    else if (character === '?') parts.push('.');
    else if (character !== '\\') parts.push(RE2JS.quote(character));
    else {
      at += 1;
      const escaped = pattern[at] ?? '';
      // The escape of `}` and `/` is for the expansion around the pattern.
      if (!['*', '?', '\\', '}', '/'].includes(escaped)) throw new Problem(`bad escape \\${escaped} in the pattern`);
      parts.push(RE2JS.quote(escaped));
    }
  }
  return RE2JS.compile(parts.join(''));
}

function reverse(text: string): string {
  return Array.from(text).toReversed().join('');
}

function reversePattern(pattern: string): string {
  return (pattern.match(/\\?./gsu) ?? []).toReversed().join('');
}
