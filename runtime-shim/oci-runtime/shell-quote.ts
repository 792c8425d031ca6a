/** The word as a POSIX shell reads it back. */
export const shellQuote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;
