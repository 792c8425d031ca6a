// Our registry in this process, on a folder and a loopback port of its own, and a client that sends paths as they are.
import { mkdtempSync, rmSync } from 'node:fs';
import { request, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock, type Clock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { Registry } from '../../lib/metrics.ts';
import { openContentStore } from '../../oci/content-store.ts';
import { digestOf, type Digest } from '../../oci/digest.ts';
import { MEDIA_TYPES } from '../../oci/media-types.ts';
import { openAccess } from '../../registry/access/access.ts';
import { createRegistryMetrics } from '../../registry/registry-metrics.ts';
import type { RegistryRules } from '../../registry/routes/call.ts';
import { startRegistryServer, type ServerOptions } from '../../registry/server.ts';
import { openRegistryStore, type RegistryStore } from '../../registry/store/registry-store.ts';
import { openUploads, type UploadLimits, type Uploads } from '../../registry/store/uploads.ts';
import type { Upstream } from '../../registry/upstream/upstream.ts';
import type { TestImage } from './images.ts';

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface SendOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string | AsyncIterable<Buffer>;
}

export interface LiveRegistry {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly root: string;
  readonly store: RegistryStore;
  readonly uploads: Uploads;
  send(method: string, path: string, options?: SendOptions): Promise<Reply>;
  /** Pushes bytes as a blob in one request. */
  pushBlob(repository: string, bytes: Buffer | string): Promise<Digest>;
  /** Pushes a document as a manifest; the digest it has. */
  pushManifest(repository: string, reference: string, document: object | Buffer, mediaType?: string): Promise<Digest>;
  pushImage(image: TestImage, repository: string, tag: string): Promise<Digest>;
}

export interface LiveRegistryOptions extends Partial<Pick<ServerOptions, 'access' | 'answerToken' | 'idleMs'>> {
  readonly root?: string;
  readonly clock?: Clock;
  readonly rules?: Partial<RegistryRules>;
  readonly limits?: Partial<UploadLimits>;
  readonly openUpstream?: (store: RegistryStore) => Upstream;
}

/** Starts one that is gone, with its folder, when the test is over. */
export async function startLiveRegistry(t: TestContext, options: LiveRegistryOptions = {}): Promise<LiveRegistry> {
  const { clock = systemClock, access = openAccess } = options;
  const root = options.root ?? mkdtempSync(join(tmpdir(), 'windlass-test-registry-'));
  const log = silentLogger();
  const store = openRegistryStore(openContentStore(root), { clock, log });
  const uploads = openUploads(store, { clock, log, limits: { maxUploads: 100, idleMs: 3600_000, ...options.limits } });
  const rules = { allowSparse: false, allowDelete: true, maxBytes: 0, maxRepositoryBytes: 0, ...options.rules };
  const server = await startRegistryServer({
    listen: { host: '127.0.0.1', port: 0 },
    access,
    deps: { store, uploads, rules, upstream: options.openUpstream?.(store) },
    metrics: createRegistryMetrics(new Registry(), store, uploads),
    log,
    ...(options.answerToken ? { answerToken: options.answerToken } : {}),
    ...(options.idleMs === undefined ? {} : { idleMs: options.idleMs }),
  });
  t.after(async () => {
    await server[Symbol.asyncDispose]();
    if (options.root === undefined) rmSync(root, { recursive: true, force: true });
  });
  const host = server.address;
  const client = createClient(host);
  return { host, root, store, uploads, ...client };
}

function createClient(host: string): Pick<LiveRegistry, 'send' | 'pushBlob' | 'pushManifest' | 'pushImage'> {
  const send: LiveRegistry['send'] = (method, path, options) => sendTo(host, method, path, options);
  const pushBlob = async (repository: string, bytes: Buffer | string): Promise<Digest> => {
    const digest = digestOf(bytes);
    const { status, body } = await send('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, { body: bytes });
    if (status !== 201) throw new Error(`POST blob answered ${status}: ${body.toString()}`);
    return digest;
  };
  const pushManifest: LiveRegistry['pushManifest'] = async (repository, reference, document, mediaType) => {
    const bytes = Buffer.isBuffer(document) ? document : Buffer.from(JSON.stringify(document));
    const type = mediaType ?? (JSON.parse(bytes.toString()) as { mediaType?: string }).mediaType;
    const headers = { 'content-type': type ?? MEDIA_TYPES.ociManifest };
    const path = `/v2/${repository}/manifests/${reference}`;
    const { status, body } = await send('PUT', path, { headers, body: bytes });
    if (status !== 201) throw new Error(`PUT manifest answered ${status}: ${body.toString()}`);
    return digestOf(bytes);
  };
  return {
    send,
    pushBlob,
    pushManifest,
    async pushImage(image, repository, tag) {
      for (const [digest, bytes] of image.blobs) {
        if (digest !== image.manifest.digest) await pushBlob(repository, bytes);
      }
      const manifest = image.blobs.get(image.manifest.digest) as Buffer;
      return pushManifest(repository, tag, manifest, image.manifest.mediaType);
    },
  };
}

/** One request; the path goes out as it is, dots and percent signs included. */
export function sendTo(host: string, method: string, path: string, options: SendOptions = {}): Promise<Reply> {
  const { body, headers = {} } = options;
  const [hostname = '', port = ''] = host.split(':');
  return new Promise((resolve, reject) => {
    const known = typeof body === 'string' || Buffer.isBuffer(body);
    const length = known ? { 'content-length': String(Buffer.byteLength(body)) } : {};
    const outgoing = request({ hostname, port, method, path, headers: { ...length, ...headers }, agent: false });
    outgoing.once('error', reject);
    outgoing.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    if (body === undefined || known) outgoing.end(body);
    else pump(body, outgoing).catch(reject);
  });
}

async function pump(body: AsyncIterable<Buffer>, outgoing: NodeJS.WritableStream): Promise<void> {
  for await (const chunk of body) {
    if (!outgoing.write(chunk)) await new Promise((resolve) => outgoing.once('drain', resolve));
  }
  outgoing.end();
}

/** The code of an error's body. */
export function codeOf({ body }: Reply): string | undefined {
  return (JSON.parse(body.toString()) as { errors: { code: string }[] }).errors[0]?.code;
}
