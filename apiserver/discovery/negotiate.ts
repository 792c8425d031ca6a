// Content negotiation (RFC 9110, 12.5.1) with the parameters Kubernetes adds to media types: as, g, v.

export interface MediaRange {
  /** `application/json`, `application/*`, or the full wildcard. */
  readonly type: string;
  /** Parameters except q, names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly quality: number;
}

/** What the server can answer with; `parameters` must all be asked for exactly. */
export interface Offer {
  readonly type: string;
  readonly parameters?: Readonly<Record<string, string>>;
}

/** More ranges than this are ignored: no client needs them. */
const MAX_RANGES = 64;

/**
 * The offer that the client likes best; undefined when none fits (406). Ranges of equal quality win by their order in
 * the header, as in upstream; a wildcard takes the first offer without parameters. An absent header accepts anything.
 */
export function negotiate<T extends Offer>(acceptHeader: string | undefined, offers: readonly T[]): T | undefined {
  const header = acceptHeader?.trim() ?? '';
  const ranges = header === '' ? [{ type: '*/*', parameters: {}, quality: 1 }] : parseAccept(header);
  const refused = ranges.filter((range) => range.quality === 0);
  for (const range of ranges.toSorted((a, b) => b.quality - a.quality)) {
    if (range.quality === 0) continue;
    const offer = offers.find(
      (each) => fits(range, each) && !refused.some((no) => no.type === each.type && fits(no, each)),
    );
    if (offer) return offer;
  }
  return undefined;
}

/** The ranges of an Accept header in its order; unreadable ones are left out. */
export function parseAccept(header: string): MediaRange[] {
  return header
    .split(',', MAX_RANGES)
    .map(parseRange)
    .filter((range) => range !== undefined);
}

function parseRange(text: string): MediaRange | undefined {
  const [type = '', ...rest] = text.split(';').map((part) => part.trim());
  if (!/^[\w.+*-]+\/[\w.+*@-]+$/.test(type)) return undefined;
  const parameters: Record<string, string> = {};
  let quality = 1;
  for (const part of rest) {
    const at = part.indexOf('=');
    if (at < 1) continue;
    const name = part.slice(0, at).trim().toLowerCase();
    const value = part
      .slice(at + 1)
      .trim()
      .replaceAll('"', '');
    if (name === 'q') quality = readQuality(value);
    else if (name !== '__proto__') parameters[name] = value;
  }
  return { type: type.toLowerCase(), parameters, quality };
}

function readQuality(text: string): number {
  const value = Number(text);
  return text === '' || Number.isNaN(value) ? 0 : Math.min(1, Math.max(0, value));
}

/** Parameters that say what the body is; others (charset, pretty) do not change which offer fits. */
const DECISIVE = ['as', 'g', 'v', 'stream'];

function fits(range: MediaRange, offer: Offer): boolean {
  const [group, kind] = range.type.split('/');
  const [offerGroup, offerKind] = offer.type.split('/');
  if (group !== '*' && group !== offerGroup) return false;
  if (kind !== '*' && kind !== offerKind) return false;
  return DECISIVE.every((name) => (range.parameters[name] ?? '') === (offer.parameters?.[name] ?? ''));
}
