import type { PortForwardRequest, UrlResponse } from '../../cri/messages.ts';
import { WindlassError } from '../../lib/errors.ts';
import { isPort } from '../streaming/port-list.ts';
import type { Shim } from './deps.ts';
import { getReadySandbox } from './lookup.ts';

/** The URL at which one client gets connections to ports inside a sandbox: those of the request, or any. */
export async function portForward(shim: Shim, request: PortForwardRequest): Promise<UrlResponse> {
  const { id } = getReadySandbox(shim, request.podSandboxId);
  const wrong = request.port.find((port) => !isPort(port));
  if (wrong !== undefined) throw new WindlassError('Invalid', `port: ${wrong} is not between 1 and 65535`);
  return { url: shim.openStreamUrl({ kind: 'portforward', sandboxId: id, ports: request.port }) };
}
