// The log files of one container on disk: the live one and those rotated away, for each attempt.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../../lib/errors.ts';

/** `<uid folder>/<container>` relative path of an attempt's live log, as CRI's ContainerConfig.log_path wants it. */
export function logPathOf(containerName: string, attempt: number): string {
  return `${containerName}/${attempt}.log`;
}

/** Folder of one Container's logs below the pods folder: names and UID, as kubelet lays it out. */
export function logDirectoryName(namespace: string, name: string, uid: string): string {
  return `${namespace}_${name}_${uid}`;
}

/** Rotated name of `file`: sorts by age, second precision, as kubelet names them. */
export function rotatedName(file: string, nowMs: number): string {
  return `${file}.${new Date(nowMs).toISOString().replace(/[-:]/g, '').replace('T', '-').replace('.', '').slice(0, 18)}`;
}

/** Attempt numbers that have a log in `directory`, in rising order. */
export async function listAttempts(directory: string): Promise<number[]> {
  const attempts = new Set<number>();
  for (const name of await namesIn(directory)) {
    const match = /^(\d+)\.log/.exec(name);
    if (match) attempts.add(Number(match[1]));
  }
  return [...attempts].toSorted((a, b) => a - b);
}

/** Files of one attempt, oldest first, the live one last; absent files are left out. */
export async function listAttemptFiles(directory: string, attempt: number): Promise<string[]> {
  const live = `${attempt}.log`;
  const names = (await namesIn(directory)).filter((name) => name === live || name.startsWith(`${live}.`));
  const rotated = names.filter((name) => name !== live).toSorted();
  return [...rotated, ...(names.includes(live) ? [live] : [])].map((name) => join(directory, name));
}

/** What is in a folder; nothing when there is none. */
export async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
