// One process at a time: a file that names who has it. What it says is checked against the processes there are, so that a
// claim ends with whoever made it, however that was.
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { errnoOf } from './errors.ts';
import { isRunning, type ProcessIdentity } from './process-identity.ts';

const identity = z.object({ pid: z.number().int(), startTime: z.number() });

/**
 * Claims `file` for `self`, taking over what a process that is gone has left there. When a living one has it, throws what
 * `taken` makes of that. The claim lasts as long as the process, or until the file is removed.
 */
export function claimFile(file: string, self: ProcessIdentity, taken: (holder: ProcessIdentity) => Error): void {
  const own = `${file}.${self.pid}`;
  writeFileSync(own, JSON.stringify(self), { mode: 0o600 });
  try {
    // Unlike a rename, a link never replaces what is there; it appears with its content, or not at all.
    while (!link(own, file)) {
      const holder = readClaim(file);
      if (holder) throw taken(holder);
      takeAside(file, self, taken);
    }
  } finally {
    rmSync(own, { force: true });
  }
}

/** The living process that has claimed `file`; undefined when there is none. */
export function readClaim(file: string): ProcessIdentity | undefined {
  try {
    const holder = identity.parse(JSON.parse(readFileSync(file, 'utf8')));
    return isRunning(holder) ? holder : undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

/** Removes the claim of a process that is gone. Another one may have replaced it meanwhile: that one is put back. */
function takeAside(file: string, self: ProcessIdentity, taken: (holder: ProcessIdentity) => Error): void {
  const aside = `${file}.old.${self.pid}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  try {
    const holder = readClaim(aside);
    if (!holder) return;
    link(aside, file);
    throw taken(holder);
  } finally {
    rmSync(aside, { force: true });
  }
}

/** False when there is something at `path` already. */
function link(existing: string, path: string): boolean {
  try {
    linkSync(existing, path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
}
