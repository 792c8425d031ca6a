// Ports of the instance's own etcd: chosen once, kept in the state folder, chosen anew when taken.
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { errnoOf, WindlassError } from '../lib/errors.ts';
import type { Instance } from '../lib/instance.ts';
import { replaceFile } from '../lib/replace-file.ts';

const etcdPorts = z.object({ client: z.number().int(), peer: z.number().int(), metrics: z.number().int() });
export type EtcdPorts = z.infer<typeof etcdPorts>;

/** The port by which members of etcd reach each other, unless it is taken: the one that firewalls know. */
const PEER_PORT = 2380;

/** All of loopback, but that for other members: it is of `peerHost`. */
export async function chooseEtcdPorts(instance: Instance, peerHost = '127.0.0.1'): Promise<EtcdPorts> {
  const file = join(instance.home, 'etcd-ports.json');
  const kept = readPorts(file);
  const areFree = async (ports: EtcdPorts): Promise<boolean> =>
    (await isFree(ports.client)) && (await isFree(ports.metrics)) && isFree(ports.peer, peerHost);
  if (kept && (await areFree(kept))) return kept;
  const [client, metrics, other] = await freePorts(3);
  const isWellKnown = peerHost !== '127.0.0.1' && (await isFree(PEER_PORT, peerHost));
  const ports = etcdPorts.parse({ client, peer: isWellKnown ? PEER_PORT : other, metrics });
  replaceFile(file, JSON.stringify(ports));
  return ports;
}

/** The ports of the last start; undefined when there was none, or when its disk was full as it wrote them. */
function readPorts(file: string): EtcdPorts | undefined {
  try {
    return etcdPorts.safeParse(JSON.parse(readFileSync(file, 'utf8'))).data;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whether this machine can listen on `host` at all. */
export async function isOwnAddress(host: string): Promise<boolean> {
  try {
    await isFree(0, host);
    return true;
  } catch (error) {
    if (['EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN', 'EINVAL'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  }
}

/** True when nothing listens on the port. Another one's look takes it for a moment: that does not count. */
export async function isFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  for (let look = 1; look < MAX_LOOKS; look += 1) {
    if (await canListen(port, host)) return true;
    await sleep(LOOK_MS);
  }
  return canListen(port, host);
}

async function canListen(port: number, host: string): Promise<boolean> {
  const server = createServer();
  try {
    await listen(server, port, host);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EADDRINUSE' || errnoOf(error) === 'EACCES') return false;
    throw error;
  } finally {
    server.close();
  }
}

const MAX_LOOKS = 3;
const LOOK_MS = 20;

/** Ports that nobody gets by asking for any: below them are well-known ones, above them the kernel's ephemeral range. */
const OWN_RANGE = { first: 20_000, last: 32_000 };

/**
 * `count` different loopback ports that are free now. Not ephemeral ones, which any process that starts meanwhile, or any
 * outgoing connection, may be given before ours binds them.
 */
export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  for (let tries = 0; found.size < count; tries += 1) {
    if (tries > 1_000) throw new WindlassError('Unavailable', 'no free loopback port was found');
    const port = randomInt(OWN_RANGE.first, OWN_RANGE.last);
    if (!found.has(port) && (await isFree(port))) found.add(port);
  }
  return [...found];
}

function listen(server: ReturnType<typeof createServer>, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host, exclusive: true }, resolve);
  });
}
