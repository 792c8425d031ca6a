import { WindlassError } from '../../lib/errors.ts';

/** Labels and annotations end up in files, events and other programs' arguments: no NUL, no line break in a name. */
export function checkTexts(
  config: { readonly labels: Readonly<Record<string, string>>; readonly annotations: Readonly<Record<string, string>> },
  field: string,
): void {
  for (const [name, text] of [...Object.entries(config.labels), ...Object.entries(config.annotations)]) {
    if (!/[\0\n]/.test(name) && !text.includes('\0')) continue;
    throw new WindlassError(
      'Invalid',
      `${field}: label or annotation ${JSON.stringify(name)} holds a NUL or a line break`,
    );
  }
}
