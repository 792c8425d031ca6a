// Hollow nodes: the real node agent over a pretend runtime that is nothing but memory. No container ever runs. They load
// the API server, the scheduler and the controllers as real nodes do, many to a process.
//   node bench/services/hollow-node.ts --kubeconfig FILE --pki DIR --folder DIR --names hollow-1,hollow-2
// Prints "joined" when all agents serve, and ends with its standard input.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runAgent } from '../../controllers/node-agent/agent.ts';
import type { NodeRuntime } from '../../controllers/node-agent/runtime/node-runtime.ts';
import { createLogger } from '../../lib/log.ts';
import { createAuthority, issueCertificate, type KeyPair } from '../../lib/pki.ts';
import { createMemoryRuntime } from '../../test/support/memory-runtime.ts';
import { nodeAgentOptions } from '../../test/support/node-agent-options.ts';

/** Memory, but not an image that has to be pulled first: starts are what is measured. */
function createHollowRuntime(reference: string): NodeRuntime {
  const runtime = createMemoryRuntime();
  void runtime.importImage('', [reference], undefined, AbortSignal.abort());
  return { ...runtime, version: async () => ({ name: 'hollow', version: '1' }) };
}

const { values } = parseArgs({
  options: {
    kubeconfig: { type: 'string', default: '' },
    /** Where the authority of the cluster is: each node has a certificate of its own. */
    pki: { type: 'string', default: '' },
    folder: { type: 'string', default: '' },
    names: { type: 'string', default: '' },
    image: { type: 'string', default: 'docker.io/library/hollow:latest' },
    log: { type: 'string', default: 'warn' },
  },
});
const names = values.names.split(',').filter((name) => name !== '');
if (values.kubeconfig === '' || values.pki === '' || values.folder === '' || names.length === 0) {
  console.error('want --kubeconfig FILE --pki DIR --folder DIR --names NAME[,NAME...]');
  process.exit(2);
}
const now = Date.now();
const authority = await createAuthority('hollow nodes', 1, now);
const serving = await issueCertificate(authority, {
  ...{ commonName: 'hollow', hosts: ['127.0.0.1'], usage: 'server', days: 1, now },
});
const [cert, key] = ['ca.crt', 'ca.key'].map((file) => readFileSync(join(values.pki, file), 'utf8')) as [
  string,
  string,
];
const issue = (nodeName: string): Promise<KeyPair> =>
  issueCertificate(
    { cert, key },
    { commonName: `system:node:${nodeName}`, organizations: ['system:nodes'], usage: 'client', days: 1, now },
  );
const stop = new AbortController();
const running = names.map(async (nodeName) => {
  const options = nodeAgentOptions({
    ...{ nodeName, folder: join(values.folder, nodeName), kubeconfig: values.kubeconfig },
    runtime: createHollowRuntime(values.image),
    tls: { ...serving, ca: authority.cert },
    log: createLogger(nodeName, values.log),
  });
  return runAgent({ ...options, connection: { ...options.connection, ...(await issue(nodeName)) } }, stop.signal);
});
console.log('joined');
process.stdin.once('close', () => stop.abort()).resume();
await Promise.all(running);
process.exit(0);
