// Debian's busybox as an Image of a test instance, without any registry.
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand, type TestInstance } from './instance.ts';

/** Path of a root file system tar with busybox; made once per machine boot and kept in the temporary folder. */
export async function busyboxTar(): Promise<string> {
  const path = join(tmpdir(), 'windlass-busybox-rootfs.tar');
  if (!existsSync(path)) {
    const result = await runCommand('bash', ['scripts/busybox-rootfs', path]);
    if (result.code !== 0) throw new Error(`failed to pack busybox: ${result.stderr}`);
  }
  return path;
}

/** Applies Image `busybox` (also `windlass.local/busybox:1`) in the default namespace and waits until it is Ready. */
export async function importBusybox(instance: TestInstance, namespace = 'default'): Promise<void> {
  await instance.apply(`
apiVersion: windlass.dev/v1
kind: Image
metadata: { name: busybox, namespace: ${namespace} }
spec:
  import: { hostPath: ${await busyboxTar()}, config: { command: [sh] } }
  tags: [windlass.local/busybox:1]`);
  await instance.kubectlOk(['wait', '-n', namespace, '--for=condition=Ready', 'img/busybox', '--timeout=30s']);
}

/** Image `busybox` on `node` alone, and Container `name` there, which says `hello from <name>` and goes on running. */
export const busyboxOn = async (node: string, name: string): Promise<string> => `
apiVersion: windlass.dev/v1
kind: Image
metadata: { name: busybox }
spec:
  import: { hostPath: ${await busyboxTar()}, nodeName: ${node}, config: { command: [sh] } }
  tags: [windlass.local/busybox:1]
---
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: ${name} }
spec:
  imageName: busybox
  nodeName: ${node}
  command: [sh, -c, 'echo hello from ${name}; exec sleep 1000']`;
