// CheckpointContainer: the memory and files of a running container in one archive, laid out as CRI-O's and Podman's are
// so that the tools made for those read it. The container keeps running.
import { randomBytes } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CheckpointContainerRequest } from '../../cri/messages.ts';
import { requireField } from '../../cri/presence.ts';
import type { CallContext } from '../../cri/services.ts';
import { WindlassError } from '../../lib/errors.ts';
import { readKernelText } from '../../lib/kernel-file.ts';
import { dumpContainer, requireCheckpointSupport } from '../oci-runtime/checkpoint.ts';
import { bundleFiles, lastComplaint } from '../oci-runtime/conmon.ts';
import { runProgram } from '../oci-runtime/run-program.ts';
import { listChanges, upperDirOf } from '../snapshots/upper-dir.ts';
import type { ContainerRecord } from '../store/records.ts';
import type { Shim } from './deps.ts';
import { getRunningContainer } from './lookup.ts';
import { rootFilesystemId } from './root-filesystem.ts';

const DEFAULT_TIMEOUT_S = 600;
const FREEZE_MS = 30_000;
const PACK_MS = 60 * 60_000;
const TAR_PROGRAM = '/bin/tar';

/** Where checkpoints are put together: on disk, for memory may be large. */
const checkpointFolder = (shim: Shim): string => join(shim.instance.home, 'checkpoints');
/** Files in a working folder, for whoever finishes after a killed shim. */
const NOTES = { toThaw: 'to-thaw', partial: 'partial' } as const;

/**
 * Writes the archive at `location`. Timeout when it takes longer than asked for: the dump then goes on to its end, since
 * processes cannot be let go in the middle of it, and its result is thrown away.
 */
export async function checkpointContainer(
  shim: Shim,
  request: CheckpointContainerRequest,
  { signal }: CallContext,
): Promise<object> {
  const { id } = getRunningContainer(shim, request.containerId);
  const location = checkLocation(requireField(request.location, 'location'));
  if (request.timeout < 0) throw new WindlassError('Invalid', 'timeout: must not be negative');
  await requireCheckpointSupport(shim.spawner, shim.runtime, signal);
  const seconds = request.timeout || DEFAULT_TIMEOUT_S;
  const isOver = new AbortController();
  const making = shim.queue.run(id, () => makeCheckpoint(shim, id, location, isOver.signal));
  // Whoever waits sees the failure; with nobody left it must not count as unhandled.
  making.catch((error: unknown) => shim.log.debug({ container: id, err: error }, 'a checkpoint failed'));
  const limit = sleep(seconds * 1000, undefined, { signal: AbortSignal.any([signal, isOver.signal]) }).then(() => {
    throw new WindlassError('Timeout', `the checkpoint of container ${id} was not done after ${seconds} s`);
  });
  limit.catch(() => undefined);
  try {
    await Promise.race([making, limit]);
  } finally {
    isOver.abort();
  }
  return {};
}

/** Undoes what a shim that was killed in the middle left: a frozen container, a part of an archive, a working folder. */
export function removeHalfMadeCheckpoints(shim: Shim): void {
  const folder = checkpointFolder(shim);
  const names = existsSync(folder) ? readdirSync(folder) : [];
  for (const work of names.map((name) => join(folder, name))) {
    const [toThaw, partial] = [NOTES.toThaw, NOTES.partial].map((name) => readIfThere(join(work, name)));
    if (toThaw !== undefined && shim.cgroups.isFrozen(toThaw)) shim.cgroups.thaw(toThaw);
    if (partial !== undefined) rmSync(partial, { force: true });
    rmSync(work, { recursive: true, force: true });
  }
}

const readIfThere = (file: string): string | undefined => (existsSync(file) ? readFileSync(file, 'utf8') : undefined);

function checkLocation(location: string): string {
  if (!location.startsWith('/') || location.includes('\0') || normalize(location) !== location) {
    throw new WindlassError('Invalid', `location: want an absolute path without . and .., not ${location}`);
  }
  const folder = lstatSync(dirname(location), { throwIfNoEntry: false });
  if (!folder?.isDirectory()) throw new WindlassError('NotFound', `location: ${dirname(location)} is not a folder`);
  const there = lstatSync(location, { throwIfNoEntry: false });
  if (there && !there.isFile()) throw new WindlassError('Invalid', `location: ${location} is there and not a file`);
  return location;
}

async function makeCheckpoint(shim: Shim, id: string, location: string, isOver: AbortSignal): Promise<void> {
  const record = getRunningContainer(shim, id);
  isOver.throwIfAborted();
  const work = join(checkpointFolder(shim), `${id}-${randomBytes(4).toString('hex')}`);
  const content = join(work, 'content');
  mkdirSync(join(content, 'checkpoint'), { recursive: true, mode: 0o700 });
  try {
    const wasFrozen = shim.cgroups.isFrozen(record.cgroupsPath);
    // Memory and files of one moment: nothing runs between the two.
    if (!wasFrozen) {
      writeFileSync(join(work, NOTES.toThaw), record.cgroupsPath);
      await shim.cgroups.freeze(record.cgroupsPath, AbortSignal.timeout(FREEZE_MS));
    }
    try {
      await dumpContainer(shim.spawner, shim.runtime, id, {
        imagePath: join(content, 'checkpoint'),
        workPath: content,
      });
      await packFiles(shim, record, work, content);
    } finally {
      if (!wasFrozen) shim.cgroups.thaw(record.cgroupsPath);
    }
    copyFileSync(bundleFiles.config(record.bundle), join(content, 'spec.dump'));
    writeFileSync(join(content, 'config.dump'), JSON.stringify(describe(shim, record)));
    await publish(shim, work, content, location, isOver);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** What the container changed in its root file system: files in a tar, names of what it deleted in a list. */
async function packFiles(shim: Shim, record: ContainerRecord, work: string, content: string): Promise<void> {
  const root = shim.images.rootFilesystem(rootFilesystemId(record))?.path;
  const upper = root === undefined ? undefined : upperDirOf(root, readKernelText('/proc/self/mountinfo'));
  if (upper === undefined) throw new WindlassError('Internal', `container ${record.id} has no writable layer`);
  const { present, deleted } = await listChanges(upper);
  writeFileSync(join(content, 'deleted.files'), JSON.stringify(deleted));
  const list = join(work, 'files');
  writeFileSync(list, present.map((path) => `${path}\0`).join(''));
  await runTar(shim, [
    ...['--file', join(content, 'rootfs-diff.tar'), '--directory', upper, '--xattrs', '--xattrs-include=*'],
    ...['--no-recursion', '--null', '--verbatim-files-from', '--files-from', list],
  ]);
}

/** Names and times for the tools that read such archives. */
function describe(shim: Shim, { id, config, imageId, imageRef, createdAtMs }: ContainerRecord): object {
  return {
    id,
    name: config.metadata?.name ?? id,
    rootfsImage: config.image?.userSpecifiedImage || config.image?.image,
    rootfsImageName: config.image?.userSpecifiedImage || config.image?.image,
    rootfsImageRef: imageRef || imageId,
    runtime: shim.runtime.kind,
    createdTime: new Date(createdAtMs).toISOString(),
    checkpointedTime: new Date(shim.clock.now()).toISOString(),
  };
}

/** Memory holds secrets: the archive is root's alone. It appears whole or not at all. */
async function publish(
  shim: Shim,
  work: string,
  content: string,
  location: string,
  isOver: AbortSignal,
): Promise<void> {
  const logs = ['dump.log', 'stats-dump'].filter((name) => existsSync(join(content, name)));
  const names = ['checkpoint', 'config.dump', 'spec.dump', 'rootfs-diff.tar', 'deleted.files', ...logs];
  const partial = `${location}.${randomBytes(4).toString('hex')}.partial`;
  writeFileSync(join(work, NOTES.partial), partial);
  try {
    writeFileSync(partial, '', { flag: 'wx', mode: 0o600 });
    await runTar(shim, ['--file', partial, '--sparse', '--directory', content, ...names]);
    await using file = await open(partial, 'r');
    await file.sync();
    isOver.throwIfAborted();
    renameSync(partial, location);
  } finally {
    rmSync(partial, { force: true });
  }
}

async function runTar(shim: Shim, args: readonly string[]): Promise<void> {
  const { code, stderr } = await runProgram(shim.spawner, {
    file: TAR_PROGRAM,
    argv: [TAR_PROGRAM, '--create', '--numeric-owner', ...args],
    signal: AbortSignal.timeout(PACK_MS),
  });
  if (code !== 0) throw new WindlassError('Internal', `failed to pack the checkpoint: ${lastComplaint(stderr)}`);
}
