// Which API servers there are: asked of whichever answers, so that the agent can turn to one that joined after it did. Kept
// in a file, for its next start.
import { join } from 'node:path';
import type { ApiClient } from '../../../client/client.ts';
import { readServers } from '../../../client/servers.ts';
import { SERVERS_PATH } from '../../../crds/servers.ts';
import type { Clock } from '../../../lib/clock.ts';
import { messageOf } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import { replaceFile } from '../../../lib/replace-file.ts';
import type { RunPart } from '../../../lib/run-all.ts';

const LOOK_MS = 30_000;

export interface ServerListDeps {
  readonly client: Pick<ApiClient, 'raw' | 'setServers'>;
  /** State folder of the node. */
  readonly home: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The part that looks now and every half minute; it never fails. */
export function createServerList({ client, home, clock, log }: ServerListDeps): RunPart {
  let known = '';

  async function look(signal: AbortSignal): Promise<void> {
    const { status, body } = await client.raw(SERVERS_PATH, AbortSignal.any([signal, AbortSignal.timeout(10_000)]));
    if (status !== 200) return;
    const urls = readServers(JSON.parse(body)).servers.flatMap(({ url }) => url ?? []);
    // None: the etcd is of somebody else, and who the servers are is what the node was told.
    if (urls.length === 0 || urls.join() === known) return;
    client.setServers(urls);
    replaceFile(join(home, 'servers.json'), JSON.stringify(urls));
    known = urls.join();
    log.info({ servers: urls }, 'learnt of the API servers');
  }

  return {
    name: 'server list',
    async run(signal) {
      while (!signal.aborted) {
        try {
          await look(signal);
        } catch (error) {
          if (!signal.aborted) log.debug({ err: messageOf(error) }, 'failed to ask for the API servers');
        }
        // Not all nodes in the same moment.
        await clock.sleep(LOOK_MS * (0.75 + Math.random() / 2), signal).catch(() => undefined);
      }
    },
  };
}
