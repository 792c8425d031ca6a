import type { AttachRequest, UrlResponse } from '../../cri/messages.ts';
import { WindlassError } from '../../lib/errors.ts';
import type { Shim } from './deps.ts';
import { getAttachableContainer } from './lookup.ts';

/** The URL at which one client gets the output of a container's first process, and its input where it has one. */
export async function attach(shim: Shim, request: AttachRequest): Promise<UrlResponse> {
  const { id } = getAttachableContainer(shim, request.containerId);
  const { tty, stdin, stdout, stderr } = request;
  if (!stdin && !stdout && !stderr) {
    throw new WindlassError('Invalid', 'one of stdin, stdout and stderr must be wanted');
  }
  if (tty && stderr) throw new WindlassError('Invalid', 'stderr: a terminal has no separate stderr');
  return { url: shim.openStreamUrl({ kind: 'attach', containerId: id, tty, stdin, stdout, stderr }) };
}
