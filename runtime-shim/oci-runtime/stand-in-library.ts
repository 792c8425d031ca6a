// crun and conmon are linked with libsystemd, which brings five more libraries with it, and use it only for what nobody
// asks of them here: control groups by systemd, logs in the journal, notices of readiness. To load and link these takes
// longer than the rest of their start. A library of that name that knows nothing else than to refuse takes their place;
// the dynamic linker then has no need of the real one (ld.so(8), LD_PRELOAD).
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';
import { readImports, type Import } from './elf-imports.ts';
import { makeLibrary } from './elf-library.ts';

const SONAME = 'libsystemd.so.0';
const TRIAL_MS = 5_000;

export interface StandInLibrary {
  /** What to set for the programs; nothing where they are better off with the real library. */
  env(): Readonly<Record<string, string>>;
}

/**
 * A stand-in for `programs` in the file `file`, made when it is asked for first and anew when one of them was replaced:
 * a newer one may want more. It counts only when all of them start with it without a word of complaint.
 */
export function createStandInLibrary(
  programs: readonly string[],
  file: string,
  machine: string = process.arch,
): StandInLibrary {
  let known: string | undefined;
  let env: Readonly<Record<string, string>> = {};
  return {
    env() {
      if (known !== undefined && known === identify([...programs, file])) return env;
      env = make(programs, file, machine) ? { LD_PRELOAD: file } : {};
      known = identify([...programs, file]);
      return env;
    },
  };
}

function make(programs: readonly string[], file: string, machine: string): boolean {
  const imports = programs.map((program) => readImports(readFileSync(program), SONAME));
  // A name with spaces or colons would be taken for several.
  if (imports.includes(undefined) || /[\s:$]/.test(file)) return false;
  const library = makeLibrary(SONAME, withoutDoubles(imports.flatMap((some) => some ?? [])), machine);
  if (!library) return false;
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o711 });
    // By rename: programs that run have the old one mapped.
    writeFileSync(`${file}.tmp`, library, { mode: 0o644 });
    renameSync(`${file}.tmp`, file);
    return programs.every((program) => startsWith(program, file));
  } catch (error) {
    // A full disk, for one: it goes without.
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

/** Whether the program starts with the library; the linker says on stderr what it does not like. */
function startsWith(program: string, file: string): boolean {
  const { status, stderr } = spawnSync(program, ['--version'], {
    env: { LD_PRELOAD: file },
    encoding: 'utf8',
    timeout: TRIAL_MS,
  });
  return status === 0 && stderr === '';
}

function withoutDoubles(imports: readonly Import[]): Import[] {
  return [...new Map(imports.map((one) => [`${one.name}@${one.version}`, one])).values()];
}

/** Changes when a file is replaced, written to, or gone. */
function identify(files: readonly string[]): string {
  return files
    .map((file) => statSync(file, { throwIfNoEntry: false }))
    .map((stat) => (stat ? `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeMs}` : ''))
    .join(' ');
}
