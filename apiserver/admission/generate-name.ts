import { randomInt } from 'node:crypto';

// Without vowels and look-alikes, so that no word comes out by chance.
const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
const SUFFIX_LENGTH = 5;
const MAX_BASE_LENGTH = 63 - SUFFIX_LENGTH;

/** `base` (cut to fit a label) with five random characters. */
export function generateName(base: string): string {
  let suffix = '';
  while (suffix.length < SUFFIX_LENGTH) suffix += ALPHABET[randomInt(ALPHABET.length)];
  return base.slice(0, MAX_BASE_LENGTH) + suffix;
}
