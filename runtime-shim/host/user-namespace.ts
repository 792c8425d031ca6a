// User namespaces. A process with threads can neither make nor enter one, so a short-lived program makes it, together
// with the namespaces that are to belong to it, and is held until they are pinned.
import { closeSync, writeFileSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { createPipe } from './pipe.ts';
import { pinNamespace, unpinNamespace } from './namespaces.ts';
import type { SpawnedProcess, Spawner } from './spawn.ts';

export interface UserNamespaceRequest {
  /** Where each new namespace is pinned; an absent kind is not made. */
  readonly pins: { readonly user: string; readonly net?: string; readonly ipc?: string; readonly uts?: string };
  /** Lines of uid_map and gid_map (user_namespaces(7)). */
  readonly uidMap: string;
  readonly gidMap: string;
  /** Path of unshare(1). */
  readonly unsharePath: string;
  readonly signal: AbortSignal;
}

const UNSHARE = { user: '--user', net: '--net', ipc: '--ipc', uts: '--uts' } as const;
/** Says back what it reads, and ends with its input. */
const ECHO = '/bin/cat';

/** Makes and pins the namespaces, all or none. */
export async function createUserNamespace(spawner: Spawner, request: UserNamespaceRequest): Promise<void> {
  const kinds = (['user', 'net', 'ipc', 'uts'] as const).filter((kind) => request.pins[kind] !== undefined);
  const pinned: string[] = [];
  const { child, input, reader } = startEcho(spawner, request, kinds);
  try {
    writeSync(input, 'x');
    if (!(await readAny(reader))) throw new Error(`${request.unsharePath} could not make a user namespace`);
    writeFileSync(`/proc/${child.pid}/uid_map`, request.uidMap);
    writeFileSync(`/proc/${child.pid}/gid_map`, request.gidMap);
    for (const kind of kinds) {
      const path = request.pins[kind] as string;
      pinNamespace(`/proc/${child.pid}/ns/${kind}`, path);
      pinned.push(path);
    }
  } catch (error) {
    for (const path of pinned) unpinNamespace(path);
    throw error;
  } finally {
    closeSync(input);
    reader.destroy();
    await child.exited;
  }
}

function startEcho(
  spawner: Spawner,
  { unsharePath, signal }: UserNamespaceRequest,
  kinds: readonly (keyof typeof UNSHARE)[],
): { child: SpawnedProcess; input: number; reader: Socket } {
  const [input, output] = [createPipe(), createPipe()];
  try {
    const child = spawner.spawnProcess({
      file: unsharePath,
      argv: [unsharePath, ...kinds.map((kind) => UNSHARE[kind]), ECHO],
      env: {},
      fds: { 0: input.readFd, 1: output.writeFd },
      newSession: true,
    });
    const reader = new Socket({ fd: output.readFd, readable: true, writable: false, signal });
    return { child, input: input.writeFd, reader };
  } catch (error) {
    for (const fd of [input.writeFd, output.readFd]) closeSync(fd);
    throw error;
  } finally {
    for (const fd of [input.readFd, output.writeFd]) closeSync(fd);
  }
}

/** True once something came; false when the other end was closed before. */
async function readAny(socket: Socket): Promise<boolean> {
  for await (const _ of socket) return true;
  return false;
}
