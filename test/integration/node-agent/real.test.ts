// The agent with the real runtime shim, kernel and runc: what only a process can show.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { busyboxTar } from '../../support/busybox.ts';
import { startInstance, type TestInstance } from '../../support/instance.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

let windlass: TestInstance | undefined;
const isAble = process.getuid?.() === 0;

before(async () => {
  if (!isAble) return;
  windlass = await startInstance();
  const tar = await busyboxTar();
  await apply(`
apiVersion: windlass.dev/v1
kind: Image
metadata: { name: busybox }
spec:
  import: { hostPath: ${tar}, config: { args: [sh], volumes: [/scratch] } }
  tags: [busybox]`);
});
after(async () => {
  await windlass?.[Symbol.asyncDispose]();
});

function instance(): TestInstance {
  assert.ok(windlass);
  return windlass;
}
const apply = (input: string): Promise<string> =>
  instance().kubectlOk(['apply', '--validate=false', '-f', '-'], { input });

async function status(name: string, path: string): Promise<string> {
  const result = await instance().kubectl(['get', 'ctr', name, '-o', `jsonpath={.status.${path}}`]);
  return result.stdout;
}
const reason = (name: string): Promise<string> => status(name, 'conditions[?(@.type=="Ready")].reason');

async function reach(name: string, wanted: RegExp): Promise<void> {
  let last = '';
  await waitFor(async () => wanted.test((last = await reason(name))), { timeoutMs: 30_000, intervalMs: 100 }).catch(
    async () => {
      throw new Error(`${name} is ${last}, want ${wanted}: ${await status(name, 'message')}`);
    },
  );
}

test('environment, files, volumes, user and host name are as the spec says, and logs and exec reach them', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'runc', 'conmon', 'kubectl')) return;
  await apply(`
apiVersion: v1
kind: ConfigMap
metadata: { name: files }
data: { a.txt: alpha, b: beta }
---
apiVersion: windlass.dev/v1
kind: Volume
metadata: { name: data }
spec: {}
---
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: full, labels: { app: x } }
spec:
  image: busybox
  args: [sh, -c, 'echo "$(GREETING) $(hostname)"; exec sleep 1000']
  env:
    - { name: NAME, valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } }
    - { name: GREETING, value: hello $(NAME) }
    - { name: IP, valueFrom: { fieldRef: { fieldPath: status.podIP } } }
  envFrom: [{ configMapRef: { name: files }, prefix: F_ }]
  hostname: boxy
  user: '1000:1000'
  terminationGracePeriodSeconds: 1
  mounts:
    - { mountPath: /cfg, configMap: { name: files } }
    - { mountPath: /one, configMap: { name: files }, subPath: b }
    - { mountPath: /data, volume: data, subPath: deep/er }
    - { mountPath: /mem, tmpfs: { sizeLimit: 1Mi } }
  securityContext: { readOnlyRootFilesystem: true }`);
  await reach('full', /^Running$/);
  assert.equal(await instance().kubectlOk(['logs', 'full']), 'hello x boxy\n');
  const script =
    'id -u; cat /cfg/a.txt /one; echo; echo $IP $F_b; grep -c "^tmpfs /mem" /proc/mounts; touch /x; exit 7';
  const result = await instance().kubectl(['exec', 'full', '--', 'sh', '-c', script]);
  assert.equal(result.stdout, `1000\nalphabeta\n${await status('full', 'networks[0].ipv4Address')} beta\n1\n`);
  assert.match(result.stderr, /Read-only file system/);
  assert.equal(result.code, 7);
  const echoed = await instance().kubectl(['exec', '-i', 'full', '--', 'cat'], { input: 'through the pipe' });
  assert.equal(echoed.stdout, 'through the pipe');
});

test('a killed process comes back within the backoff; exits are told apart', async (t) => {
  if (!requireRoot(t)) return;
  const container = (name: string, spec: string): string => `
---
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: ${name} }
spec: { image: busybox, restartPolicy: Never, ${spec} }`;
  await apply(
    container('three', 'args: [sh, -c, "exit 3"]') +
      container('zero', 'args: ["true"]') +
      container('hungry', 'args: [sh, -c, "x=a; while :; do x=$x$x; done"], resources: { limits: { memory: 16Mi } }') +
      container('nocmd', 'args: [no-such-program]'),
  );
  await reach('three', /^Error$/);
  await reach('zero', /^Completed$/);
  await reach('hungry', /^OOMKilled$/);
  await reach('nocmd', /^(Create|Start)Failed$/);
  assert.match(await status('nocmd', 'message'), /no-such-program/);
  assert.deepEqual([await status('three', 'exitCode'), await status('zero', 'phase')], ['3', 'Succeeded']);
  const before = await status('full', 'containerID');
  process.kill(await pidOf('full'), 'SIGKILL');
  await waitFor(async () => (await status('full', 'restartCount')) === '1', { timeoutMs: 10_000 });
  await reach('full', /^Running$/);
  assert.notEqual(await status('full', 'containerID'), before);
  assert.equal(await status('full', 'lastTermination.exitCode'), '137');
  assert.equal(await instance().kubectlOk(['logs', 'full', '--previous']), 'hello x boxy\n');
});

test('a link in a volume does not lead a subPath out of it', async (t) => {
  if (!requireRoot(t)) return;
  await apply(`
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: linker }
spec:
  { image: busybox, restartPolicy: Never, args: [ln, -s, /etc, /data/evil], mounts: [{ mountPath: /data, volume: data }] }`);
  await reach('linker', /^Completed$/);
  await apply(`
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: evil }
spec: { image: busybox, args: [sleep, '100'], mounts: [{ mountPath: /x, volume: data, subPath: evil/ssl }] }`);
  await reach('evil', /^InvalidSubPath$/);
});

/** The host's process id of the first process of a container. */
async function pidOf(name: string): Promise<number> {
  const id = await status(name, 'containerID');
  return waitFor(async () => {
    const text = await readFile(`${instance().run}/shim/b/${id}/pid`, 'utf8').catch(() => '');
    return Number(text);
  });
}
