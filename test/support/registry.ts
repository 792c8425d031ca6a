// Registries for tests: Debian's docker-registry on a loopback port, and servers that misbehave on purpose.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import { freePorts } from '../../cli/ports.ts';
import type { TestImage } from './images.ts';
import { waitFor } from './wait.ts';

export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Pushes an image as `<host>/<repository>:<tag>` and gives that reference. */
  push(image: TestImage, repository: string, tag: string): Promise<string>;
  /** Stores any bytes as a manifest, e.g. an index. */
  putManifest(repository: string, tag: string, mediaType: string, bytes: Buffer): Promise<void>;
}

/** Starts docker-registry with an empty store. */
export async function startTestRegistry(): Promise<TestRegistry> {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-registry-'));
  const [port] = await freePorts(1);
  const host = `127.0.0.1:${port}`;
  const config = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'data') }, delete: { enabled: true } },
    http: { addr: host },
  };
  // YAML is a superset of JSON.
  writeFileSync(join(folder, 'config.yml'), JSON.stringify(config));
  const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], {
    stdio: 'ignore',
    env: { ...process.env, OTEL_TRACES_EXPORTER: 'none' },
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const answers = (): Promise<boolean> =>
    request(`http://${host}/v2/`).then(
      async ({ statusCode, body }) => {
        await body.dump();
        return statusCode === 200;
      },
      () => false,
    );
  await waitFor(answers, { what: 'docker-registry to listen' });

  async function putManifest(repository: string, tag: string, mediaType: string, bytes: Buffer): Promise<void> {
    const headers = { 'content-type': mediaType };
    const url = `http://${host}/v2/${repository}/manifests/${tag}`;
    const { statusCode, body } = await request(url, { method: 'PUT', headers, body: bytes });
    const text = await body.text();
    if (statusCode !== 201) throw new Error(`PUT manifest answered ${statusCode}: ${text}`);
  }

  return {
    host,
    putManifest,
    async push(image, repository, tag) {
      for (const [digest, bytes] of image.blobs) {
        if (digest === image.manifest.digest) continue;
        const start = await request(`http://${host}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
        await start.body.dump();
        const location = new URL(String(start.headers['location']), `http://${host}`);
        location.searchParams.set('digest', digest);
        const headers = { 'content-type': 'application/octet-stream' };
        const { statusCode, body } = await request(location, { method: 'PUT', headers, body: bytes });
        await body.dump();
        if (statusCode !== 201) throw new Error(`PUT blob ${digest} answered ${statusCode}`);
      }
      const bytes = image.blobs.get(image.manifest.digest) as Buffer;
      await putManifest(repository, tag, image.manifest.mediaType, bytes);
      return `${host}/${repository}:${tag}`;
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface BadRegistry extends AsyncDisposable {
  readonly host: string;
  /** Every request so far: method, path, and the Authorization header it carried. */
  readonly requests: readonly {
    method: string;
    url: string;
    authorization: string | undefined;
    range: string | undefined;
  }[];
}

export type BadBehaviour = (request: IncomingMessage, response: ServerResponse, host: string) => boolean | void;

/**
 * A server that answers as a registry holding `image` under every repository and tag, unless `behaviour` answers
 * (it returns true when it did, or will).
 */
export async function startBadRegistry(image: TestImage, behaviour: BadBehaviour = () => false): Promise<BadRegistry> {
  const requests: { method: string; url: string; authorization: string | undefined; range: string | undefined }[] = [];
  let host = '';
  const server = createServer((incoming, response) => {
    const { method = '', url = '', headers } = incoming;
    requests.push({ method, url, authorization: headers.authorization, range: headers.range });
    if (behaviour(incoming, response, host)) return;
    const manifest = /\/manifests\/(.+)$/.exec(url);
    const blob = /\/blobs\/(sha256:[0-9a-f]+)$/.exec(url);
    if (manifest) {
      response.setHeader('content-type', image.manifest.mediaType);
      response.end(image.blobs.get(image.manifest.digest));
      return;
    }
    const bytes = [...image.blobs].find(([digest]) => digest === blob?.[1])?.[1];
    const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
    if (bytes && start > 0) {
      response.writeHead(206, { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` });
      response.end(bytes.subarray(start));
    } else if (bytes) {
      response.end(bytes);
    } else {
      response.writeHead(url === '/v2/' ? 200 : 404).end('{}');
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    host,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
