// The two folders of an instance carry a marker, so that no command ever takes over or removes a folder that is not
// windlass's own (a mistyped --home /srv).
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf, messageOf, WindlassError } from '../lib/errors.ts';
import type { Instance } from '../lib/instance.ts';

const MARKER = 'windlass-instance.json';
const marker = z.object({ id: z.string(), home: z.string(), run: z.string() });

/**
 * Makes both folders and marks them; Conflict when one is in other use. Nobody else may look into either. Root of a
 * container's user namespace, who is somebody else here, passes through the run folder to its root file system.
 */
export function claimFolders(instance: Instance): void {
  for (const folder of [instance.home, instance.run]) {
    try {
      checkFolder(instance, folder);
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      chmodSync(folder, folder === instance.run ? 0o711 : 0o700);
      writeMarker(folder, instance);
    } catch (error) {
      throw error instanceof WindlassError ? error : unusable(folder, error);
    }
  }
}

// As a whole or not at all: with half a marker, written to a full disk, the folder would be nobody's for ever.
function writeMarker(folder: string, instance: Instance): void {
  const text = JSON.stringify(instance);
  const file = join(folder, MARKER);
  if (readIfThere(file) === text) return;
  // Of this process alone: another one that starts now would empty it between the two calls.
  const temporary = `${file}.${process.pid}`;
  try {
    writeFileSync(temporary, text, { mode: 0o600 });
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

// Node reports ENOENT for a folder on a read-only file system, which misleads.
function unusable(folder: string, error: unknown): WindlassError {
  const message = `failed to make ${folder} (${errnoOf(error) ?? messageOf(error)}): is its file system there, writable and not full?`;
  return new WindlassError('Unavailable', message, { cause: error });
}

/** Throws Conflict when a folder that exists is not this instance's: it has no marker, or another instance's. */
export function checkFolders(instance: Instance): void {
  for (const folder of [instance.home, instance.run]) checkFolder(instance, folder);
}

/** Removes both folders and all in them; call checkFolders() first. */
export function removeFolders(instance: Instance): void {
  for (const folder of [instance.run, instance.home]) rmSync(folder, { recursive: true, force: true });
}

function checkFolder(instance: Instance, folder: string): void {
  const owner = readMarker(folder);
  if (owner === 'none') {
    throw new WindlassError(
      'Conflict',
      `${folder} exists and is not a windlass folder: choose another with ${folder === instance.home ? '--home' : '--run'}`,
    );
  }
  if (owner && (owner.home !== instance.home || owner.run !== instance.run)) {
    throw new WindlassError(
      'Conflict',
      `${folder} belongs to the instance with --home ${owner.home} --run ${owner.run}: give both flags`,
    );
  }
}

/** undefined: the folder is absent, or as empty as a start that failed at once leaves it. */
function readMarker(folder: string): z.infer<typeof marker> | 'none' | undefined {
  try {
    if (readdirSync(folder).every((name) => name.startsWith(`${MARKER}.`))) return undefined;
    return marker.parse(JSON.parse(readFileSync(join(folder, MARKER), 'utf8')));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return folderExists(folder) ? 'none' : undefined;
    if (error instanceof SyntaxError || error instanceof z.ZodError) return 'none';
    throw error;
  }
}

function folderExists(folder: string): boolean {
  try {
    readdirSync(folder);
    return true;
  } catch {
    return false;
  }
}
