// The API server's process: options, signals, and the server itself.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig } from '../lib/config.ts';
import { messageOf, WindlassError } from '../lib/errors.ts';
import { parseHostPort } from '../lib/host-port.ts';
import { describeInstance, paths } from '../lib/instance.ts';
import { createLogger } from '../lib/log.ts';
import { readStaticTokens } from './auth/static-tokens.ts';
import { ApiServerConfig } from './config.ts';
import { installPods } from './pods/install.ts';
import { createApiServer } from './server.ts';
import { membersFile } from './servers/membership.ts';
import type { EtcdTls } from './storage/etcd-client.ts';

async function main(): Promise<void> {
  const { config } = loadConfig(ApiServerConfig, { argv: process.argv.slice(2), env: process.env });
  const log = createLogger('apiserver', config.logLevel);
  log.info({ config }, 'starting');
  const pki = paths.pki(describeInstance(config.home, config.run));
  const read = (name: string): string => readFileSync(join(pki, name), 'utf8');
  const server = createApiServer({
    etcdServers: config.etcdServers,
    etcdPrefix: config.etcdPrefix,
    ...readEtcdTls(config),
    ...(config.etcdMetrics === undefined ? {} : { etcdMetrics: config.etcdMetrics }),
    ...(config.tokenAuthFile === undefined ? {} : { staticTokens: readStaticTokens(config.tokenAuthFile, log) }),
    ...(config.etcdPeerUrl === undefined
      ? {}
      : { membership: { peerUrl: config.etcdPeerUrl, file: membersFile(config.home), pki } }),
    tls: { cert: read('apiserver.crt'), key: read('apiserver.key'), clientCa: read('ca.crt') },
    ...(config.snapshotFolder === undefined || config.snapshotIntervalSeconds === 0
      ? {}
      : {
          snapshots: {
            folder: config.snapshotFolder,
            intervalMs: config.snapshotIntervalSeconds * 1000,
            keep: config.snapshotKeep,
          },
        }),
    log,
  });
  installPods(
    server,
    { cert: read('apiserver-agent-client.crt'), key: read('apiserver-agent-client.key'), ca: read('ca.crt') },
    { maxBytes: config.archiveMaxSize, quotaBytes: config.archiveQuota },
  );
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(1);
      log.info({ signal }, 'stopping');
      stop.abort();
    });
  }
  const { address } = await server.listen(parseHostPort(config.listen));
  log.info({ address }, 'listening');
  await server.run(stop.signal);
}

function readEtcdTls({ etcdCa, etcdCert, etcdKey }: ApiServerConfig): { etcdTls?: EtcdTls } {
  if (etcdCa === undefined) return {};
  if ((etcdCert === undefined) !== (etcdKey === undefined)) {
    throw new WindlassError('BadRequest', '--etcd-cert and --etcd-key must be given together');
  }
  const client = etcdCert && etcdKey ? { cert: readFileSync(etcdCert), key: readFileSync(etcdKey) } : {};
  return { etcdTls: { ca: readFileSync(etcdCa), ...client } };
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${JSON.stringify({ level: 'fatal', component: 'apiserver', msg: messageOf(error) })}\n`);
    process.exit(1);
  },
);
