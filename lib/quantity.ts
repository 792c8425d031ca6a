// Kubernetes resource quantities: `500m`, `64Mi`, `1.5`, `2e3`.
// https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
import { WindlassError } from './errors.ts';

const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The regular expression that upstream's OpenAPI uses for quantities, as text for schemas. */
export const QUANTITY_PATTERN = '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$';

/** The number a quantity stands for in its base unit (bytes, cores). Throws BadRequest that quotes the text. */
export function parseQuantity(text: string | number): number {
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?)$/.exec(
    String(text).trim(),
  );
  if (!match)
    throw new WindlassError(
      'BadRequest',
      `invalid quantity ${JSON.stringify(text)}: want a number with an optional suffix, e.g. 500m or 64Mi`,
    );
  if (match[2]) return Number(`${match[1]}${match[2]}`);
  return Number(match[1]) * (SUFFIXES[match[3] ?? ''] ?? 1);
}

/** Bytes as a short binary quantity that loses nothing: 67108864 -> `64Mi`, 1000 -> `1000`. */
export function formatBytes(bytes: number): string {
  for (const suffix of ['Ei', 'Pi', 'Ti', 'Gi', 'Mi', 'Ki']) {
    const unit = SUFFIXES[suffix] ?? 1;
    if (bytes >= unit && bytes % unit === 0) return `${bytes / unit}${suffix}`;
  }
  return String(bytes);
}

/** Bytes for people, rounded, in the decimal units that Docker prints: `3.12MB`, `24.5kB`, `1GB`. */
export function formatSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let [value, unit] = [bytes, 0];
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${Number(value.toPrecision(3))}${units[unit] ?? ''}`;
}
