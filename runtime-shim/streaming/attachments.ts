// Attach: clients of running containers, one hub for each container that has or had some.
import { isUnavailable, messageOf, WindlassError } from '../../lib/errors.ts';
import { resizeTerminal } from '../oci-runtime/conmon-control.ts';
import type { ContainerRecord } from '../store/records.ts';
import { MAX_CLIENTS, openAttachHub, type AttachHub } from './attach-hub.ts';
import type { ClientStreams } from './client-streams.ts';

export interface Attachments {
  /** Connects a client with a container until either is gone; the container goes on when the client leaves. */
  attach(client: ClientStreams, findContainer: () => ContainerRecord): Promise<void>;
}

export function createAttachments(): Attachments {
  const hubs = new Map<string, AttachHub>();

  function hubOf({ id, bundle, config }: ContainerRecord): AttachHub {
    const existing = hubs.get(id);
    if (existing) return existing;
    const hub = openAttachHub({
      bundle,
      hasStdin: config.stdin,
      stdinOnce: config.stdinOnce,
      onClose: () => {
        if (hubs.get(id) === hub) hubs.delete(id);
      },
    });
    hubs.set(id, hub);
    return hub;
  }

  return {
    async attach(client, findContainer) {
      let hub: AttachHub;
      try {
        const record = findContainer();
        hub = hubOf(record);
        if (hub.size >= MAX_CLIENTS) {
          throw new WindlassError('Conflict', `${MAX_CLIENTS} clients are attached to container ${record.id}`);
        }
        if (record.config.tty) client.onResize((size) => resizeQuietly(record, size));
      } catch (error) {
        await client.finish({ kind: 'failure', message: messageOf(error) });
        return;
      }
      await hub.join(client);
      await client.finish({ kind: 'exit', code: 0 });
    },
  };
}

/** A container that ends at this moment has no terminal to size. */
function resizeQuietly({ bundle, id }: ContainerRecord, size: { columns: number; rows: number }): void {
  try {
    resizeTerminal(bundle, id, size);
  } catch (error) {
    if (!isUnavailable(error)) throw error;
  }
}
