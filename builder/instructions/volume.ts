import { posix } from 'node:path';
import type { RunInstruction, VolumeInstruction } from '../dockerfile/ast.ts';
import { refuseFlags } from '../dockerfile/flags.ts';
import { commonFields, type InstructionSource, readList } from '../dockerfile/instruction-source.ts';
import { formatList } from './history-text.ts';
import type { Change, Scope } from './scope.ts';

export function parseVolume(source: InstructionSource): VolumeInstruction {
  refuseFlags(source);
  const paths = readList(source).map((path) => path.trim());
  if (paths.length === 0) throw source.error('VOLUME needs a path');
  if (paths.includes('')) throw source.error('a path of VOLUME must not be empty', 0);
  return { kind: 'VOLUME', ...commonFields(source), paths };
}

export function evaluateVolume(instruction: VolumeInstruction, scope: Scope): Change {
  const { state } = scope;
  const paths = instruction.paths.map((path) => scope.expand(path));
  if (paths.includes('')) throw scope.error('a path of VOLUME is empty once it is expanded');
  const Volumes = { ...state.config.Volumes, ...Object.fromEntries(paths.map((path) => [path, {}])) };
  return { state: { ...state, config: { ...state.config, Volumes } }, createdBy: `VOLUME ${formatList(paths)}` };
}

/** Paths of the volumes so far, absolute and without `..`. */
export function volumePaths({ state }: Scope): string[] {
  return Object.keys(state.config.Volumes ?? {}).map((path) => posix.resolve('/', path));
}

/** A command that works below a volume, or names a path below it, most likely writes there; that is lost. */
export function warnOfVolumes(
  { text, heredocs }: RunInstruction,
  volumes: readonly string[],
  cwd: string,
  scope: Scope,
): void {
  const texts = [text, ...heredocs.map(({ content }) => content)];
  for (const volume of volumes) {
    if (!isBelow(cwd, volume) && !texts.some((part) => names(part, volume))) continue;
    scope.warn('WriteBelowVolume', `what RUN writes below VOLUME ${volume} is not kept: do it before the VOLUME`);
  }
}

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);
}

function names(text: string, path: string): boolean {
  for (let at = text.indexOf(path); at !== -1; at = text.indexOf(path, at + 1)) {
    const isWhole = !/[\w.-]/.test(text[at + path.length] ?? '') && !/[\w./-]/.test(text[at - 1] ?? '');
    if (isWhole) return true;
  }
  return false;
}
