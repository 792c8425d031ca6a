// Push and pull of an image of 200 MB through our registry and through Debian's docker-registry, by the same client
// (skopeo), in turn; then many clients that read all of it at once.
//   node_modules/.bin/node bench/registry/push-pull.ts [--rounds 5] [--clients 50]
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Agent, request } from 'undici';
import { freePorts } from '../../cli/ports.ts';
import { makeImage, writeOciLayout, type TestImage } from '../../test/support/images.ts';
import { runCommand } from '../../test/support/instance.ts';
import { waitFor } from '../../test/support/wait.ts';
import { renderTable, summarise, timed } from '../measure.ts';
import { cpuMsOfProcess } from '../runtime/cpu-time.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, clients: { type: 'string', default: '50' } },
});
const [rounds, clients] = [Number(values.rounds), Number(values.clients)];

interface Server {
  readonly name: string;
  readonly host: string;
  readonly child: ChildProcess;
}

interface Sample {
  readonly wallMs: number;
  /** Of the server alone. */
  readonly cpuMs: number;
}

const root = mkdtempSync(join(tmpdir(), 'windlass-bench-registry-'));
const servers: Server[] = [];
const samples = new Map<string, Sample[]>();
const load = loadavg()[0]?.toFixed(1);
try {
  servers.push(await startOurs(), await startPeer());
  for (let round = 0; round < rounds; round += 1) {
    const layout = join(root, 'layout');
    mkdirSync(layout);
    const image = makeImage({ layers: Array.from({ length: 6 }, (_, index) => layerOf(index)) });
    writeOciLayout(layout, image, 'image');
    for (const server of round % 2 === 0 ? servers : servers.toReversed()) {
      const name = `bench/image${round}`;
      await measure(server, 'push', () => copy(`oci:${layout}:image`, `docker://${server.host}/${name}:v1`));
      const out = join(root, 'out');
      await measure(server, 'pull', () => copy(`docker://${server.host}/${name}:v1`, `dir:${out}`));
      rmSync(out, { recursive: true, force: true });
      await measure(server, `${clients} readers at once`, () => readMany(server, name, image));
    }
    rmSync(layout, { recursive: true, force: true });
  }
} finally {
  for (const { child } of servers) child.kill('SIGKILL');
  rmSync(root, { recursive: true, force: true });
}
console.log(`load at the start ${load}, ${rounds} rounds, medians\n`);
console.log(
  renderTable(
    ['', ...servers.flatMap(({ name }) => [name, 'its processor time']), 'peer / ours'],
    ['push', 'pull', `${clients} readers at once`].map((what) => {
      const all = servers.map(({ name }) => samples.get(`${what}|${name}`) ?? []);
      const [ours = 0, peer = 0] = all.map((list) => summarise(list.map(({ wallMs }) => wallMs)).medianMs);
      const cells = all.flatMap((list) => [
        `${Math.round(summarise(list.map(({ wallMs }) => wallMs)).medianMs)} ms`,
        `${Math.round(summarise(list.map(({ cpuMs }) => cpuMs)).medianMs)} ms`,
      ]);
      return [what, ...cells, `${(peer / ours).toFixed(2)}x`];
    }),
  ),
);

/** Bytes that do not compress, in a layer that says it is compressed: clients take it as it is. */
function layerOf(index: number): { name: string; content: Buffer }[] {
  return [{ name: `file${index}`, content: randomBytes(34_000_000) }];
}

async function startOurs(): Promise<Server> {
  const host = `127.0.0.1:${(await freePorts(1))[0]}`;
  const main = new URL('../../registry/main.ts', import.meta.url).pathname;
  const args = [main, '--root', join(root, 'ours'), '--listen', host, '--log-level', 'error'];
  return serve('windlass', host, spawn(process.execPath, args, { stdio: 'inherit' }));
}

async function startPeer(): Promise<Server> {
  const host = `127.0.0.1:${(await freePorts(1))[0]}`;
  const file = join(root, 'peer.yml');
  const storage = { filesystem: { rootdirectory: join(root, 'peer') } };
  const log = { level: 'error', accesslog: { disabled: true } };
  writeFileSync(file, JSON.stringify({ version: 0.1, log, storage, http: { addr: host } }));
  const env = { ...process.env, OTEL_TRACES_EXPORTER: 'none' };
  return serve('docker-registry', host, spawn('docker-registry', ['serve', file], { stdio: 'ignore', env }));
}

async function serve(name: string, host: string, child: ChildProcess): Promise<Server> {
  const answers = (): Promise<boolean> =>
    request(`http://${host}/v2/`).then(
      async ({ statusCode, body }) => {
        await body.dump();
        return statusCode === 200;
      },
      () => false,
    );
  await waitFor(answers, { what: `${name} to listen`, timeoutMs: 30_000 });
  return { name, host, child };
}

async function measure(server: Server, what: string, work: () => Promise<unknown>): Promise<void> {
  const before = cpuMs(server);
  const wallMs = await timed(work);
  const key = `${what}|${server.name}`;
  samples.set(key, [...(samples.get(key) ?? []), { wallMs, cpuMs: cpuMs(server) - before }]);
}

function cpuMs({ child }: Server): number {
  return cpuMsOfProcess(child.pid as number);
}

async function copy(from: string, to: string): Promise<void> {
  const args = ['copy', '--quiet', '--src-tls-verify=false', '--dest-tls-verify=false', from, to];
  const { code, stderr } = await runCommand('skopeo', args, { timeoutMs: 300_000 });
  if (code !== 0) throw new Error(`skopeo ${args.join(' ')}: ${stderr}`);
}

/** Each reads all layers, one after the other, as a pull does that writes nothing. */
async function readMany({ host }: Server, name: string, { layers }: TestImage): Promise<void> {
  const agent = new Agent({ connections: clients, pipelining: 1 });
  const one = async (): Promise<void> => {
    for (const { digest, size } of layers) {
      const { statusCode, body } = await request(`http://${host}/v2/${name}/blobs/${digest}`, { dispatcher: agent });
      let bytes = 0;
      for await (const chunk of body) bytes += (chunk as Buffer).length;
      if (statusCode !== 200 || bytes !== size) throw new Error(`${digest} answered ${statusCode} with ${bytes} bytes`);
    }
  };
  await Promise.all(Array.from({ length: clients }, one));
  await agent.destroy();
}
