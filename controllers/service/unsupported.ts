// Fields of a Service that are refused by name.
import type { Service } from '../../crds/service.ts';

/** The first field that cannot be honoured, with what stands in its way. */
export function findUnsupportedField({ spec }: Service): string | undefined {
  if (spec.clientAddress !== 'ProxyProtocol') return undefined;
  const port = spec.ports?.find(({ protocol, publishedPort }) => protocol === 'UDP' && publishedPort !== undefined);
  return port && `spec.clientAddress: ProxyProtocol, with the published UDP port ${port.publishedPort},`;
}
