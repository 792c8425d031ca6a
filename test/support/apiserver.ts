// The real API server in this process, over a real etcd, with certificates made for it.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installPods } from '../../apiserver/pods/install.ts';
import { createApiServer, type ApiServer } from '../../apiserver/server.ts';
import type { Patience } from '../../apiserver/routes/api.ts';
import { createLogger, silentLogger } from '../../lib/log.ts';
import { createAuthority, issueCertificate, type KeyPair } from '../../lib/pki.ts';
import { startTestEtcd, type TestEtcd } from './etcd.ts';
import { waitFor } from './wait.ts';

export interface TestResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The body as JSON. */
  json<T = Record<string, unknown>>(): T;
}

export interface TestRequest {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Another user than the administrator; null = no certificate. */
  readonly as?: KeyPair | null;
}

export interface TestApiserver extends AsyncDisposable {
  readonly server: ApiServer;
  readonly etcd: TestEtcd;
  /** `https://127.0.0.1:<port>` */
  readonly url: string;
  /** The authority (`ca` is its PEM certificate), and the administrator's client certificate. */
  readonly authority: KeyPair;
  readonly ca: string;
  readonly admin: KeyPair;
  /** A kubeconfig of the administrator, and the folder it is in (use as HOME). */
  readonly kubeconfig: string;
  readonly folder: string;
  /** A client certificate for another user. */
  issue(commonName: string, organizations: readonly string[]): Promise<KeyPair>;
  /** Writes a kubeconfig for `user` and answers its path. */
  writeKubeconfig(name: string, user: KeyPair): Promise<string>;
  /** One request over HTTP/1.1; objects are sent as JSON, strings as they are. */
  request(method: string, path: string, options?: TestRequest): Promise<TestResponse>;
}

export interface TestApiserverOptions {
  readonly etcd?: TestEtcd;
  /** All members of its cluster, in place of its own URL. */
  readonly etcdServers?: readonly string[];
  /** Called before it listens: register views and subresources here. */
  readonly prepare?: (server: ApiServer) => void;
  /** How long clients may take. */
  readonly patience?: Patience;
  /** Resolve at once instead of when /readyz is fine. */
  readonly dontWait?: boolean;
}

/** For `prepare`: serves v1 pods, so that Containers can be evicted; no agent can be reached. */
export const servePods = (server: ApiServer): void => installPods(server, { cert: '', key: '', ca: '' });

/** Starts everything on free ports and waits until the server is ready and serves the five kinds. */
export async function startTestApiserver(options: TestApiserverOptions = {}): Promise<TestApiserver> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'windlass-api-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const etcd = options.etcd ?? cleanup.use(await startTestEtcd());
  const now = Date.now();
  const authority = await createAuthority('windlass test', 1, now);
  const issue = (commonName: string, organizations: readonly string[]): Promise<KeyPair> =>
    issueCertificate(authority, { commonName, organizations, usage: 'client', days: 1, now });
  const serving = await issueCertificate(authority, {
    commonName: 'apiserver',
    hosts: ['localhost', '127.0.0.1'],
    usage: 'server',
    days: 1,
    now,
  });
  const admin = await issue('admin', ['system:masters']);
  const level = process.env['WINDLASS_TEST_LOG'];
  const server = createApiServer({
    etcdServers: options.etcdServers ?? [etcd.url],
    etcdPrefix: '/windlass',
    tls: { cert: serving.cert, key: serving.key, clientCa: authority.cert },
    ...(options.patience ? { patience: options.patience } : {}),
    log: level ? createLogger('apiserver', level) : silentLogger(),
  });
  options.prepare?.(server);
  const { address } = await server.listen({ host: '127.0.0.1', port: 0 });
  const url = `https://${address}`;
  const stop = new AbortController();
  const running = server.run(stop.signal);
  cleanup.defer(async () => {
    stop.abort();
    await running;
  });
  const agent = new Agent({ keepAlive: true });
  cleanup.defer(() => agent.destroy());

  const request = (method: string, path: string, sent: TestRequest = {}): Promise<TestResponse> =>
    send(agent, { method, url: url + path, ca: authority.cert, admin }, sent);
  const writeKubeconfig = async (name: string, user: KeyPair): Promise<string> => {
    const path = join(folder, `${name}.kubeconfig`);
    await writeFile(path, kubeconfigText(url, authority.cert, user), { mode: 0o600 });
    return path;
  };
  const kubeconfig = await writeKubeconfig('admin', admin);
  if (!options.dontWait) await waitUntilReady(request);
  const owned = cleanup.move();
  return {
    server,
    etcd,
    url,
    authority,
    ca: authority.cert,
    admin,
    kubeconfig,
    folder,
    issue,
    writeKubeconfig,
    request,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function waitUntilReady(request: TestApiserver['request']): Promise<void> {
  const isThere = async (path: string): Promise<boolean> => (await request('GET', path)).status === 200;
  const what = 'the API server being ready';
  await waitFor(() => isThere('/readyz'), { what });
  await waitFor(() => isThere('/apis/windlass.dev/v1/volumes'), { what });
  await waitFor(() => isThere('/api/v1/namespaces/kube-node-lease'), { what });
}

async function send(
  agent: Agent,
  target: { method: string; url: string; ca: string; admin: KeyPair },
  { body, headers = {}, as = target.admin }: TestRequest,
): Promise<TestResponse> {
  const bytes =
    body === undefined ? undefined : typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const length = bytes === undefined ? {} : { 'content-length': String(Buffer.byteLength(bytes)) };
    const credentials = as === null ? {} : { cert: as.cert, key: as.key };
    const request = httpsRequest(
      target.url,
      { method: target.method, agent, ca: target.ca, headers: { ...length, ...headers }, ...credentials },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            json: <T>() => JSON.parse(text) as T,
          });
        });
      },
    );
    request.on('error', reject);
    request.end(bytes);
  });
}

function kubeconfigText(server: string, ca: string, user: KeyPair): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': base64(ca) } }],
    users: [
      { name: 'user', user: { 'client-certificate-data': base64(user.cert), 'client-key-data': base64(user.key) } },
    ],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'user' } }],
    'current-context': 'test',
  });
}
