// A CRI server of a few handlers on a socket of its own, and a client of it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createCriClient, type CriClient } from '../../cri/client.ts';
import { createCriServer, type CriHandlers } from '../../cri/server.ts';

/** Both end with the test. */
export async function connectCri(t: TestContext, handlers: Partial<CriHandlers>): Promise<CriClient> {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-cri-'));
  const server = createCriServer({ runtime: {}, images: {}, node: {}, ...handlers });
  const socketPath = join(folder, 'cri.sock');
  await server.listen(socketPath);
  const client = createCriClient({ socketPath });
  t.after(async () => {
    client[Symbol.dispose]();
    await server.close(0);
    rmSync(folder, { recursive: true, force: true });
  });
  return client;
}
