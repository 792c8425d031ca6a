// An OCI runtime ends with a code of its own (255, 1) when it could not start a program; users and scripts know the
// shell's codes.

/**
 * 127 (not found) or 126 (cannot be run) by the JSON log of a runtime that failed to start a program; undefined when the
 * log has no error, and the exit code is the program's own.
 */
export function failedStartCode(log: string): 126 | 127 | undefined {
  const error = log.split('\n').find((line) => line.includes('"level":"error"'));
  if (error === undefined) return undefined;
  return /no such file|not found/i.test(error) ? 127 : 126;
}
