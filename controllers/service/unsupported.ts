// Fields of a Service that are refused by name until their part is built.
import type { Service } from '../../crds/service.ts';

/** The first field that cannot be honoured yet. */
export function findUnsupportedField({ spec }: Service): string | undefined {
  return spec.clientAddress === 'ProxyProtocol' ? 'spec.clientAddress: ProxyProtocol' : undefined;
}
