// The WWW-Authenticate header of a registry (RFC 9110 section 11).

export type Challenge =
  | { readonly kind: 'basic' }
  | { readonly kind: 'bearer'; readonly realm: string; readonly service?: string; readonly scope?: string };

/** The challenge to answer: bearer before basic; undefined when neither is offered. */
export function parseChallenge(header: string | string[] | undefined): Challenge | undefined {
  const texts = header === undefined ? [] : [header].flat();
  let basic: Challenge | undefined;
  for (const text of texts) {
    if (text.length > 8192) continue;
    const match = /(?:^|,)\s*bearer\s+(.*)$/is.exec(text);
    const parameters = parseParameters(match?.[1] ?? '');
    const realm = parameters.get('realm');
    if (realm !== undefined) {
      const service = parameters.get('service');
      const scope = parameters.get('scope');
      return {
        kind: 'bearer',
        realm,
        ...(service === undefined ? {} : { service }),
        ...(scope === undefined ? {} : { scope }),
      };
    }
    if (/(?:^|,)\s*basic(?:\s|$|,)/i.test(text)) basic = { kind: 'basic' };
  }
  return basic;
}

function parseParameters(text: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const match of text.matchAll(/([a-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/gi)) {
    const key = (match[1] as string).toLowerCase();
    const value = match[2]?.replaceAll(/\\(.)/g, '$1') ?? match[3] ?? '';
    if (!parameters.has(key)) parameters.set(key, value);
  }
  return parameters;
}
