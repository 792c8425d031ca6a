// A whole windlass with a busybox image, and the questions that tests of containers ask it.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before } from 'node:test';
import { busyboxTar } from './busybox.ts';
import { startInstance, type InstanceOptions, type TestInstance } from './instance.ts';
import { waitFor } from './wait.ts';

export interface RealNode extends TestInstance {
  /** Applies without kubectl's own validation, which costs a second. */
  put(yaml: string): Promise<string>;
  /** A Container of the busybox image; `spec` in YAML's flow style, without braces; an image of its own comes first. */
  make(name: string, spec: string): Promise<void>;
  patch(name: string, spec: object): Promise<void>;
  /** A part of a Container's status, by JSON path. */
  status(name: string, path: string): Promise<string>;
  /** Waits for the reason of the Ready condition. */
  reach(name: string, wanted: RegExp, timeoutMs?: number): Promise<void>;
  /** Waits until the Container runs with another container id than `before`. */
  reachOther(name: string, before: string): Promise<string>;
  /** Output of a shell script in a running container. */
  sh(name: string, script: string): Promise<string>;
  /** The host's process id of the first process of a container. */
  pidOf(name: string): Promise<number>;
  remove(...names: string[]): Promise<void>;
}

/** One for all tests of a file, where they are root; the function that gives it is for tests only. */
export function realNodeOfFile(): () => RealNode {
  let started: RealNode | undefined;
  before(async () => {
    if (process.getuid?.() === 0) started = await startRealNode();
  });
  after(async () => {
    await started?.[Symbol.asyncDispose]();
  });
  return () => {
    assert.ok(started);
    return started;
  };
}

/** Starts it; `volumes` of the image is /scratch. */
export async function startRealNode(options: InstanceOptions = {}): Promise<RealNode> {
  const instance = await startInstance(options);
  const put = (input: string): Promise<string> =>
    instance.kubectlOk(['apply', '--validate=false', '-f', '-'], { input });
  const status = async (name: string, path: string): Promise<string> =>
    (await instance.kubectl(['get', 'ctr', name, '-o', `jsonpath={.status.${path}}`])).stdout;
  await put(`
apiVersion: windlass.dev/v1
kind: Image
metadata: { name: busybox }
spec:
  import: { hostPath: ${await busyboxTar()}, config: { args: [sh], volumes: [/scratch] } }
  tags: [busybox]`);
  const node: RealNode = {
    ...instance,
    put,
    status,
    async make(name, spec) {
      await put(`
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: ${name} }
spec: { ${spec.startsWith('image') ? '' : 'image: busybox, '}terminationGracePeriodSeconds: 0, ${spec} }`);
    },
    async patch(name, spec) {
      await instance.kubectlOk(['patch', 'ctr', name, '--type=merge', '-p', JSON.stringify({ spec })]);
    },
    async reach(name, wanted, timeoutMs = 30_000) {
      let last = '';
      const isThere = async (): Promise<boolean> =>
        wanted.test((last = await status(name, 'conditions[?(@.type=="Ready")].reason')));
      await waitFor(isThere, { timeoutMs, intervalMs: 100 }).catch(async () => {
        throw new Error(`${name} is ${last}, want ${wanted}: ${await status(name, 'message')}`);
      });
    },
    reachOther: (name, before) =>
      waitFor(
        async () => {
          const id = await status(name, 'containerID');
          return id !== before && id !== '' && (await status(name, 'phase')) === 'Running' && id;
        },
        { timeoutMs: 30_000, intervalMs: 100, what: `another run of ${name}` },
      ),
    sh: async (name, script) => (await instance.kubectlOk(['exec', name, '--', 'sh', '-c', script])).trim(),
    async pidOf(name) {
      const id = await status(name, 'containerID');
      return waitFor(async () => Number(await readFile(`${instance.run}/shim/b/${id}/pid`, 'utf8').catch(() => '')));
    },
    async remove(...names) {
      await instance.kubectlOk(['delete', 'ctr', ...names, '--wait', '--timeout=30s']);
    },
  };
  return node;
}
