// Replicas that come and go under load, over three hosts: no client of a published port may notice.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isConditionTrue } from '../../controllers/runtime/conditions.ts';
import { containerKind, type Container } from '../../crds/container.ts';
import { startCluster, type Cluster } from '../support/cluster.ts';
import { waitFor } from '../support/wait.ts';

const isRoot = process.getuid?.() === 0;
const PORT = 8092;
/** The clients are not to keep the hosts from their work. */
const PAUSE_MS = 50;
/** On a busy machine an answer takes long; that none comes is told by an error much sooner. */
const PATIENCE_MS = 30_000;

describe('replicas that come and go under load', { skip: isRoot ? false : 'needs root' }, () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await startCluster({ controllers: ['--lease-duration-seconds', '15'] });
    await cluster.put(service(1, 3));
    await areReady(3);
  });
  after(async () => cluster?.[Symbol.asyncDispose]());

  /** Its Containers; none while the API server is too busy to say. */
  const replicas = async (): Promise<readonly Container[]> => {
    const listed = await cluster.api
      .kind<Container>(containerKind)
      .list({ namespace: 'default', labelSelector: 'windlass.dev/service=web' })
      .catch(() => ({ items: [] }));
    return listed.items;
  };
  const areReady = (count: number, before: readonly (string | undefined)[] = []): Promise<boolean> =>
    waitFor(
      async () => {
        const now = await replicas();
        const isNew = now.every(({ metadata }) => !before.includes(metadata.uid));
        return now.length === count && isNew && now.every((one) => isConditionTrue(one, 'Ready'));
      },
      { what: `${count} replicas`, timeoutMs: 300_000, intervalMs: 250 },
    );

  /** Asks every node again and again, a new connection each time, while `change` goes on and for a while after it. */
  const underLoad = async (t: TestContext, change: () => Promise<void>): Promise<void> => {
    const stop = new AbortController();
    const failures: string[] = [];
    let count = 0;
    const ask = async (host: string): Promise<void> => {
      while (!stop.signal.aborted) {
        count += 1;
        await get(host).catch((error: Error) =>
          failures.push(`${host} at ${new Date().toISOString()}: ${error.message}`),
        );
        await sleep(PAUSE_MS);
      }
    };
    const clients = cluster.nodes.map(({ ipv4 }) => ask(ipv4));
    try {
      const before = count;
      await waitFor(() => count > before + 20, { what: 'load', timeoutMs: 60_000 });
      await change();
      const then = count;
      await waitFor(() => count > then + 20, { what: 'load afterwards', timeoutMs: 60_000 });
    } finally {
      stop.abort();
      await Promise.all(clients);
      t.diagnostic(`${count} requests, ${failures.length} failed`);
    }
    assert.deepEqual(failures, []);
  };

  it('a rolling update loses no request', async (t) => {
    await underLoad(t, async () => {
      const before = (await replicas()).map(({ metadata }) => metadata.uid);
      await cluster.put(service(2, 3));
      await areReady(3, before);
    });
  });

  it('scaling from 3 replicas to 1 and back loses no request', async (t) => {
    await underLoad(t, async () => {
      for (const count of [1, 3]) {
        await cluster.put(service(2, count));
        await areReady(count);
      }
    });
  });
});

/** One request over a connection of its own. */
function get(host: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { host, port: PORT, path: '/cgi-bin/who', agent: false, timeout: PATIENCE_MS },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (body += chunk));
        response.on('error', reject);
        response.on('end', () =>
          body.startsWith('web-') ? resolve(body) : reject(new Error(`answer ${JSON.stringify(body)}`)),
        );
      },
    );
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', reject);
    asked.end();
  });
}

/** A program as many are: asked to stop, it closes its port at once and finishes what it has begun. */
function service(version: number, replicas: number): string {
  const script = [
    'mkdir -p /w/cgi-bin',
    'printf \'#!/bin/sh\\nprintf "Content-type: text/plain\\\\r\\\\n\\\\r\\\\n%%s" "$HOSTNAME"\\n\' > /w/cgi-bin/who',
    'chmod +x /w/cgi-bin/who',
    'export HOSTNAME=$(hostname)',
    'httpd -f -p 80 -h /w & server=$!',
    "trap 'kill $server; sleep 3; exit 0' TERM",
    'wait',
  ].join('; ');
  return `apiVersion: windlass.dev/v1
kind: Service
metadata: { name: web }
spec:
  replicas: ${replicas}
  updateStrategy: { monitorSeconds: 0 }
  template:
    spec:
      image: windlass.local/busybox:1
      command: [sh, -c, ${JSON.stringify(script)}]
      env: [{ name: VERSION, value: '${version}' }]
      placement: { maxPerNode: 1 }
      healthCheck: { tcpSocket: { port: 80 }, intervalSeconds: 1, startPeriodSeconds: 60, startIntervalSeconds: 1 }
  ports: [{ port: 80, publishedPort: ${PORT} }]`;
}
