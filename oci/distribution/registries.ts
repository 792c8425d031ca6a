// Which addresses answer for a registry host: its mirrors in order, then itself.
import { isIP } from 'node:net';
import { z } from 'zod';
import { WindlassError } from '../../lib/errors.ts';
import { isLoopbackHost } from '../../lib/host-port.ts';

const endpointSchema = z.string().regex(/^https?:\/\/[^/?#@\s]+\/?$/, 'want http(s)://host[:port]');

const registriesSchema = z.strictObject({
  registries: z
    .record(
      z.string(),
      z.strictObject({
        /** Asked first, in order, without credentials. */
        mirrors: z.array(endpointSchema).default([]),
        /** Speak HTTP without TLS. Loopback hosts always do unless this is false. */
        plainHttp: z.boolean().optional(),
        /** Hosts beyond the registry's own domain that may be given its credentials for a token. */
        tokenHosts: z.array(z.string()).default([]),
      }),
    )
    .default({}),
});

export type RegistriesConfig = z.infer<typeof registriesSchema>;

export interface Endpoint {
  /** `https://host:port`, without a path. */
  readonly origin: string;
  readonly isMirror: boolean;
  readonly tokenHosts: readonly string[];
}

/** Parses the mirror table (the content of `--registries-config`); BadRequest names the field. */
export function parseRegistriesConfig(document: unknown): RegistriesConfig {
  const result = registriesSchema.safeParse(document ?? {});
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new WindlassError(
    'BadRequest',
    `invalid registries configuration: ${issue?.path.join('.')}: ${issue?.message}`,
  );
}

/** The endpoints to ask for images of `registry`, in order. */
export function endpointsOf(registry: string, config: RegistriesConfig): Endpoint[] {
  const own = config.registries[registry];
  const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
  const isPlain = own?.plainHttp ?? isLoopbackHost(hostnameOf(`http://${host}`));
  return [
    ...(own?.mirrors ?? []).map((mirror) => ({ origin: new URL(mirror).origin, isMirror: true, tokenHosts: [] })),
    {
      origin: new URL(`${isPlain ? 'http' : 'https'}://${host}`).origin,
      isMirror: false,
      tokenHosts: own?.tokenHosts ?? [],
    },
  ];
}

/**
 * May a token server get the credentials of a registry? Its own host may; another host only over TLS and within the
 * registry's domain (auth.example.com for registry.example.com), or when the configuration names it.
 */
export function mayGetCredentials(realm: URL, endpoint: Endpoint): boolean {
  const registry = new URL(endpoint.origin);
  if (realm.protocol === 'http:' && registry.protocol !== 'http:') return false;
  if (realm.hostname === registry.hostname) return true;
  if (realm.protocol !== 'https:') return false;
  if (endpoint.tokenHosts.includes(realm.hostname) || endpoint.tokenHosts.includes(realm.host)) return true;
  const domain = domainOf(registry.hostname);
  return domain !== undefined && (realm.hostname === domain || realm.hostname.endsWith(`.${domain}`));
}

/** The part of a host name that one owner holds; a guess without the public suffix list, on the narrow side. */
function domainOf(hostname: string): string | undefined {
  const labels = hostname.split('.');
  if (isIP(hostname) !== 0 || hostname.startsWith('[') || labels.length < 2) return undefined;
  const isCountrySuffix = labels.at(-1)?.length === 2 && (labels.at(-2)?.length ?? 0) <= 3;
  const count = isCountrySuffix ? 3 : 2;
  return labels.length < count ? undefined : labels.slice(-count).join('.');
}

function hostnameOf(url: string): string {
  try {
    return new URL(url).hostname;
  } catch (error) {
    throw new WindlassError('Invalid', `invalid registry host ${url.slice(7)}`, { cause: error });
  }
}
