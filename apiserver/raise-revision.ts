// A program: writes to the store until its revision has grown by so much. After a snapshot was restored the revision is an
// old one; without this, revisions that clients remember of what was lost would come again for something else.
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { loadConfig } from '../lib/config.ts';
import { messageOf } from '../lib/errors.ts';
import { createEtcdClient } from './storage/etcd-client.ts';

const Options = z.object({
  etcdServers: z.string(),
  etcdCa: z.string(),
  etcdCert: z.string(),
  etcdKey: z.string(),
  by: z.coerce.number().int().min(0),
});

/** Outside the prefix of the objects: no watch sees it. */
const KEY = Buffer.from('/windlass-recover/revision');
const NOTHING = Buffer.alloc(0);
const IN_FLIGHT = 256;

async function main(): Promise<void> {
  const { config } = loadConfig(Options, { argv: process.argv.slice(2), env: {} });
  const [ca, cert, key] = [config.etcdCa, config.etcdCert, config.etcdKey].map((file) => readFileSync(file));
  const client = createEtcdClient([config.etcdServers], { ca: ca as Buffer, cert: cert as Buffer, key: key as Buffer });
  let left = config.by;
  const write = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await client.kv.put({ key: KEY, value: NOTHING });
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, write));
  await client.kv.txn({ compare: [], success: [{ request_delete_range: { key: KEY } }], failure: [] });
  const { header } = await client.maintenance.status();
  process.stdout.write(`${header.revision}\n`);
  client.close();
}

main().catch((error: unknown) => {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
});
