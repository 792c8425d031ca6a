// What a restarted shim finds and no record explains: the record was damaged and put aside, or a process that was to clear
// up after itself (a program run in a container, a copy into a volume) died with the shim that waited for it. Whoever
// asked for these things will ask again, so they are removed.
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';
import { paths } from '../../lib/instance.ts';
import { umountTree } from '../host/mount.ts';
import { bundleFiles } from '../oci-runtime/conmon.ts';
import { endProcesses, findByArgument, killTree } from '../oci-runtime/monitors.ts';
import type { OciSpec } from '../oci-runtime/oci-spec.ts';
import type { Shim } from './deps.ts';
import { removeCgroup } from './end-group.ts';
import { bundleOf, holderId } from './pid-holder.ts';
import { removeMapped } from './user-namespace.ts';

const STEP_MS = 30_000;
const ID = /^[0-9a-f]{64}$/;

/** Ids of containers that have a bundle, mapped mounts, a state of the OCI runtime or an exit file, but no record. */
export function findStrayContainers(shim: Shim): string[] {
  const state = paths.shimState(shim.instance);
  const found = [join(state, 'b'), join(state, 'u'), join(state, 'runtime'), shim.exits.folder].flatMap(listIds);
  return [...new Set(found)].filter((id) => !shim.store.containers.get(id));
}

/** Kills and removes a container of which only the id is known. */
export async function removeStrayContainer(shim: Shim, id: string): Promise<void> {
  shim.log.warn({ container: id }, 'removing what is left of a container that has no record');
  await endStray(shim, id, join(paths.shimState(shim.instance), 'b', id));
  removeMapped(shim, { id });
  shim.exits.forget(id);
}

/** Ends a container of the OCI runtime, with whoever is at work on it, and removes its bundle. */
async function endStray(shim: Shim, id: string, bundle: string): Promise<void> {
  const signal = AbortSignal.timeout(STEP_MS);
  await endProcesses(
    findByArgument((argument) => argument === bundle),
    0,
    signal,
  );
  const group = cgroupOf(bundle, id) ?? `${shim.cgroupParent}/${id}`;
  await shim.cgroups.killAll(group, signal);
  await shim.runtime.delete(id, undefined, signal);
  await removeCgroup(shim, group, signal);
  rmSync(bundle, { recursive: true, force: true });
}

/** Removes sandboxes without a record (kept ready and never taken, or the record was lost): mounts, network, files. */
export async function removeStraySandboxes(shim: Shim): Promise<void> {
  const folder = join(paths.shimState(shim.instance), 's');
  for (const id of listIds(folder)) {
    if (shim.store.sandboxes.get(id)) continue;
    shim.log.info({ sandboxId: id }, 'removing what is left of a sandbox that has no record');
    await endStray(shim, holderId(id), bundleOf({ directory: join(folder, id) }));
    await shim.network.detachSandbox(id);
    umountTree(join(folder, id));
    rmSync(join(folder, id), { recursive: true, force: true });
  }
}

/** Lets go of image views whose holder is gone. */
export async function releaseStrayViews(shim: Shim): Promise<void> {
  for (const holder of shim.images.listViewHolders()) {
    const [containerId = ''] = holder.split('-mount');
    if (!shim.store.containers.get(containerId)) await shim.images.unmountView(holder);
  }
}

/** Ends programs that an earlier shim ran in containers: nobody reads their output or hears how they end. */
export function endForgottenExecs(shim: Shim): void {
  const bundles = join(paths.shimState(shim.instance), 'b');
  for (const runner of findByArgument((argument) => argument.startsWith(`${bundles}/`) && isExecFile(argument))) {
    killTree(runner);
  }
  for (const id of listIds(bundles)) {
    for (const name of readdirSync(join(bundles, id)).filter(isExecFile)) rmSync(join(bundles, id, name));
  }
}

const isExecFile = (path: string): boolean => /(^|\/)exec-[0-9a-f]{16}\.\w+$/.test(path);

/** A group of its own choice is in its bundle; one that does not end in its id is not believed. */
function cgroupOf(bundle: string, id: string): string | undefined {
  const file = bundleFiles.config(bundle);
  if (!existsSync(file)) return undefined;
  try {
    const path = (JSON.parse(readFileSync(file, 'utf8')) as OciSpec).linux.cgroupsPath;
    return path?.startsWith('/') && path.endsWith(`/${id}`) ? path : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}

function listIds(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => ID.test(name));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
