// Status writes as merge patches that say only what has changed.

/** The merge patch from one status to another: what is gone is null, what is equal is left out. */
export function statusPatch(old: object | undefined, next: object): Record<string, unknown> {
  const have = JSON.parse(JSON.stringify(old ?? {})) as Record<string, unknown>;
  const want = JSON.parse(JSON.stringify(next)) as Record<string, unknown>;
  const patch: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(want)) {
    if (JSON.stringify(have[key]) === JSON.stringify(value)) continue;
    // Merge patch merges maps: what the old one has beyond the new one must be named to go.
    patch[key] = isPlainObject(value) && isPlainObject(have[key]) ? withNulls(have[key], value) : value;
  }
  for (const key of Object.keys(have)) if (!(key in want)) patch[key] = null;
  return patch;
}

const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

function withNulls(have: Record<string, unknown>, want: Record<string, unknown>): Record<string, unknown> {
  return {
    ...Object.fromEntries(
      Object.keys(have)
        .filter((key) => !(key in want))
        .map((key) => [key, null]),
    ),
    ...want,
  };
}
