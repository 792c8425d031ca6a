// Fields of a Service that are refused by name.
import type { Service } from '../../crds/service.ts';

/** The first field that cannot be honoured, with what stands in its way. */
export function findUnsupportedField({ spec }: Service): string | undefined {
  if (spec.clientAddress !== 'ProxyProtocol') return undefined;
  const published = (spec.ports ?? []).filter(({ publishedPort }) => publishedPort !== undefined);
  // A node that passes connections on is the client of the node with the replica, and all its clients would get the same.
  if (published.length > 0 && spec.sessionAffinity === 'ClientIP')
    return 'spec.clientAddress: ProxyProtocol, with spec.sessionAffinity: ClientIP and a published port,';
  const port = published.find(({ protocol }) => protocol === 'UDP');
  return port && `spec.clientAddress: ProxyProtocol, with the published UDP port ${port.publishedPort},`;
}
