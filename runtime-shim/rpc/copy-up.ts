import { randomBytes } from 'node:crypto';
import { readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { CopyUpRequest } from '../../cri/node-messages.ts';
import { requireField } from '../../cri/presence.ts';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { lastComplaint } from '../oci-runtime/conmon.ts';
import { resolveInRoot } from '../oci-runtime/rooted-path.ts';
import { runProgram } from '../oci-runtime/run-program.ts';
import type { Shim } from './deps.ts';
import { findImage } from './lookup.ts';

const COPY_MS = 30 * 60_000;
const COPY_PROGRAM = '/bin/cp';

/**
 * Copies a folder of an image into an empty folder, once: beside it first, then in one rename, so that a crash leaves
 * either nothing or everything. An image without that folder, or a folder that holds something, is left alone.
 */
export async function copyUp(shim: Shim, request: CopyUpRequest): Promise<{ copied: boolean }> {
  const destination = requireField(request.destination, 'destination');
  if (!destination.startsWith('/')) throw new WindlassError('Invalid', 'destination: must be an absolute path');
  const image = findImage(shim, request.image);
  const imagePath = requireField(request.imagePath, 'image_path');
  return shim.queue.run(`copy-up ${destination}`, async () => {
    if (!isEmptyFolder(destination)) return { copied: false };
    const holder = `copy-up-${randomBytes(8).toString('hex')}`;
    const view = await shim.images.mountView(image, holder);
    try {
      const source = resolveInRoot(view, imagePath);
      if (!source.stat?.isDirectory()) return { copied: false };
      await copyFolder(shim, source.hostPath, destination);
      return { copied: true };
    } finally {
      await shim.images.unmountView(holder);
    }
  });
}

function isEmptyFolder(path: string): boolean {
  try {
    return readdirSync(path).length === 0;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') {
      throw new WindlassError('NotFound', `destination ${path} is not a directory`, { cause: error });
    }
    throw error;
  }
}

async function copyFolder(shim: Shim, source: string, destination: string): Promise<void> {
  const prefix = `.${basename(destination)}.`;
  // Left by a copy that died with its shim: calls for one destination come one after the other.
  for (const name of readdirSync(dirname(destination))) {
    if (name.startsWith(prefix) && /^[0-9a-f]{12}$/.test(name.slice(prefix.length)))
      rmSync(join(dirname(destination), name), { recursive: true, force: true });
  }
  const staging = join(dirname(destination), prefix + randomBytes(6).toString('hex'));
  try {
    await copyTree(shim, source, staging);
    renameSync(staging, destination);
  } catch (error) {
    // A mount point cannot be replaced: then the copy is made in place.
    if (errnoOf(error) !== 'EBUSY' && errnoOf(error) !== 'EXDEV') throw error;
    await copyTree(shim, source, destination);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** -a keeps owners, modes, times, links, hard links, devices and extended attributes; -T copies onto, not into. */
async function copyTree(shim: Shim, source: string, target: string): Promise<void> {
  const argv = [COPY_PROGRAM, '-a', '-T', '--', source, target];
  const { code, stderr } = await runProgram(shim.spawner, {
    file: COPY_PROGRAM,
    argv,
    signal: AbortSignal.timeout(COPY_MS),
  });
  if (code !== 0)
    throw new WindlassError('Internal', `failed to copy ${source} to ${target}: ${lastComplaint(stderr)}`);
}
