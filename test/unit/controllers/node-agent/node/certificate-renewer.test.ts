import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { ApiClient } from '../../../../../client/client.ts';
import { createCertificateRenewer } from '../../../../../controllers/node-agent/node/certificate-renewer.ts';
import type { CertificateSigningRequest } from '../../../../../crds/builtin.ts';
import {
  createCertificateRequest,
  createPrivateKeyPem,
  keyHashOf,
  signRequest,
} from '../../../../../lib/certificate-request.ts';
import type { Clock } from '../../../../../lib/clock.ts';
import { silentLogger } from '../../../../../lib/log.ts';
import { certificateLife, createAuthority, type KeyPair } from '../../../../../lib/pki.ts';

const HOUR_MS = 3_600_000;
const START = Date.parse('2026-01-01T00:00:00Z');

/** A node whose certificates were signed at START for an hour, and a renewer that looks `looks` times, from `now` on. */
async function makeNode(t: TestContext, { now, looks }: { now: number; looks: number }) {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-renew-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const authority = await createAuthority('test', 1, START);
  const key = createPrivateKeyPem();
  const sign = (request: string, usage: 'client' | 'server', at: number): Promise<string> =>
    signRequest(authority, request, {
      ...{ commonName: 'system:node:a', organizations: ['system:nodes'], userId: 'u1', usage, seconds: 3_600, now: at },
    });
  const request = await createCertificateRequest(key, { commonName: 'system:node:a', organizations: ['system:nodes'] });
  const cert = await sign(request, 'client', START);
  for (const name of ['node', 'node-agent']) {
    writeFileSync(join(folder, `${name}.crt`), cert);
    writeFileSync(join(folder, `${name}.key`), key);
  }
  const asked: CertificateSigningRequest[] = [];
  const shown: Record<'client' | 'server', KeyPair[]> = { client: [], server: [] };
  const client = {
    kind: () => ({
      create: async (object: CertificateSigningRequest) => void asked.push(object),
      get: async () => {
        const { spec } = asked.at(-1) as CertificateSigningRequest;
        const usage = spec.usages?.includes('client auth') ? 'client' : 'server';
        const signed = await sign(Buffer.from(spec.request, 'base64').toString('utf8'), usage, now);
        return { metadata: {}, status: { certificate: Buffer.from(signed).toString('base64') } };
      },
    }),
    setCredentials: (pair: KeyPair) => void shown.client.push(pair),
  } as unknown as ApiClient;
  const stop = new AbortController();
  const waits: number[] = [];
  const clock = {
    now: () => now,
    sleep: async (ms: number) => {
      waits.push(ms);
      if (waits.length === looks) stop.abort();
    },
  } as unknown as Clock;
  const renewer = createCertificateRenewer({
    ...{ client, nodeName: 'a', cert, folder, clock, log: silentLogger() },
    setServing: (pair) => void shown.server.push(pair),
    onClient: () => undefined,
  });
  return { folder, key, asked, shown, waits, run: () => renewer.run(stop.signal) };
}

test('certificates are renewed after 70 % of their life, for the same key', async (t) => {
  const early = await makeNode(t, { now: START + 0.69 * HOUR_MS, looks: 1 });
  await early.run();
  assert.equal(early.asked.length, 0);

  const due = await makeNode(t, { now: START + 0.7 * HOUR_MS, looks: 1 });
  await due.run();
  assert.deepEqual([due.shown.client.length, due.shown.server.length], [1, 1]);
  for (const [name, [pair]] of [['node', due.shown.client] as const, ['node-agent', due.shown.server] as const]) {
    const written = readFileSync(join(due.folder, `${name}.crt`), 'utf8');
    assert.equal(written, pair?.cert);
    assert.equal(keyHashOf(written), keyHashOf(due.key));
    assert.equal(certificateLife(written).notAfter, START + 1.7 * HOUR_MS);
  }
});

test('a certificate that cannot be written is used all the same, and asked for again', async (t) => {
  const node = await makeNode(t, { now: START + 0.8 * HOUR_MS, looks: 2 });
  mkdirSync(join(node.folder, 'node.crt.tmp'));
  await node.run();
  assert.equal(node.shown.client.length, 2);
  assert.deepEqual(node.waits, [2_000, 4_000]);
});

test('files that cannot be read are looked for again, and end nothing', async (t) => {
  const node = await makeNode(t, { now: START, looks: 2 });
  rmSync(join(node.folder, 'node.crt'));
  await node.run();
  assert.deepEqual(node.waits, [2_000, 4_000]);
});
