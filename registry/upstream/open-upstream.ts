// The upstream that the flags name.
import type { Clock } from '../../lib/clock.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { parseYaml } from '../../lib/parse-yaml.ts';
import { createRegistryClient } from '../../oci/distribution/create-registry-client.ts';
import { parseRegistriesConfig } from '../../oci/distribution/registries.ts';
import { parseReference } from '../../oci/reference.ts';
import type { Config } from '../config.ts';
import type { RegistryStore } from '../store/registry-store.ts';
import { read } from '../tls-files.ts';
import { createUpstream } from './create-upstream.ts';
import type { Upstream } from './upstream.ts';

/** Undefined without --upstream. Throws BadRequest for a host that is none. */
export function openUpstream(
  { upstream: registry, upstreamTagSeconds, upstreamCredentials, registriesConfig }: Readonly<Config>,
  deps: {
    readonly store: RegistryStore;
    readonly clock: Clock;
    readonly log: Logger;
    readonly onFetched: () => void;
  },
): ({ readonly upstream: Upstream } & AsyncDisposable) | undefined {
  if (registry === undefined) return undefined;
  requireHost(registry);
  const registries = parseRegistriesConfig(
    registriesConfig === undefined ? {} : parseYaml(read('--registries-config', registriesConfig).toString()),
  );
  const client = createRegistryClient({ registries, clock: deps.clock });
  const credentials =
    upstreamCredentials === undefined
      ? undefined
      : parseCredentials(read('--upstream-credentials', upstreamCredentials).toString().trim());
  return {
    upstream: createUpstream(
      { ...deps, client },
      {
        ...{ registry, credentials, tagMs: upstreamTagSeconds * 1000 },
        onFetched: deps.onFetched,
      },
    ),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

function requireHost(registry: string): void {
  try {
    if (parseReference(`${registry}/a:b`).registry === registry) return;
  } catch {
    // Said below, with the flag.
  }
  throw new WindlassError(
    'BadRequest',
    `invalid --upstream ${JSON.stringify(registry)}: want a registry host, e.g. docker.io`,
  );
}

function parseCredentials(text: string): { username: string; password: string } {
  const colon = text.indexOf(':');
  if (colon <= 0)
    throw new WindlassError('BadRequest', 'invalid --upstream-credentials: want user:password in the file');
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
