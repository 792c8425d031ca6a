// Programs that only a test wants, out of Debian's packages: fetched and unpacked into the temporary folder and kept
// there, never installed and never started by themselves.
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { runCommand } from './instance.ts';
import { requirePrograms } from './require.ts';

/**
 * Where `file` of the package is on this machine. Undefined, with the test skipped and the reason printed, where the
 * package cannot be had, or not in the version that begins with `version`.
 */
export async function unpackProgram(
  t: TestContext,
  { name, file, version = '' }: { name: string; file: string; version?: string },
): Promise<string | undefined> {
  const folder = join(tmpdir(), `windlass-package-${name}`);
  const program = join(folder, file);
  if (existsSync(program)) return program;
  if (!requirePrograms(t, 'apt-get', 'dpkg')) return undefined;
  const scratch = mkdtempSync(`${folder}-`);
  try {
    const download = await runCommand('apt-get', ['download', '-q', name], { cwd: scratch });
    const archive = readdirSync(scratch).find((entry) => entry.endsWith('.deb'));
    if (download.code !== 0 || archive === undefined) {
      t.skip(`needs Debian's package ${name}, which cannot be had: ${download.stderr.trim().split('\n').at(-1)}`);
      return undefined;
    }
    if (!archive.startsWith(`${name}_${version}`)) {
      t.skip(`needs version ${version} of Debian's package ${name}: here it is ${archive}`);
      return undefined;
    }
    const unpacked = await runCommand('dpkg', ['-x', join(scratch, archive), scratch]);
    if (unpacked.code !== 0) throw new Error(`failed to unpack ${archive}: ${unpacked.stderr}`);
    rmSync(folder, { recursive: true, force: true });
    renameSync(scratch, folder);
    return program;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
