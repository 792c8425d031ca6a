// What COPY and ADD have in common.
import { posix } from 'node:path';
import { isDigest } from '../../oci/digest.ts';
import type { AddInstruction, CopyInstruction } from '../dockerfile/ast.ts';
import type { Flags } from '../dockerfile/flags.ts';
import { heredocText, parseHeredocStart } from '../dockerfile/heredoc.ts';
import { type InstructionSource, jsonStrings, kindOf } from '../dockerfile/instruction-source.ts';
import { withPlace } from '../dockerfile/problem.ts';
import { quote } from '../dockerfile/syntax-error.ts';
import { splitBlanks } from '../dockerfile/words.ts';
import type { CopyOperation, FileSource, InlineFile } from '../operations.ts';
import type { Scope } from './scope.ts';
import { checkSourcePath, sourceKind } from './source-path.ts';
import { workdirOf } from './workdir.ts';

export const FILE_FLAGS = { chown: 'text', chmod: 'text', link: 'boolean', exclude: 'list' } as const;

type FileFields = Pick<CopyInstruction, 'chmod' | 'chown' | 'destination' | 'exclude' | 'link' | 'sources'>;

/** Parses sources and destination; here-documents are no sources. Throws Invalid where one of them is missing. */
export function parseFiles(source: InstructionSource, flags: Flags<keyof typeof FILE_FLAGS>): FileFields {
  const kind = kindOf(source);
  const strings = jsonStrings(source);
  const words = strings?.map((text) => ({ text, offset: 0 })) ?? splitBlanks(source.rest);
  const isHeredoc = (text: string): boolean => strings === undefined && parseHeredocStart(text) !== undefined;
  const last = words.at(-1);
  if (last === undefined || words.length < 2) throw source.error(`${kind} needs a source and a destination`);
  if (isHeredoc(last.text)) throw source.error(`a here-document cannot be the destination of ${kind}`, last.offset);
  const sources = words.slice(0, -1).filter(({ text }) => !isHeredoc(text));
  if (words.length - 1 - sources.length !== source.heredocs.length) {
    throw source.error('the name of a here-document must follow its << without a blank and without one in it');
  }
  const chown = flags.text('chown');
  const chmod = flags.text('chmod');
  return {
    sources: sources.map(({ text }) => text),
    destination: last.text,
    ...(chown === undefined ? {} : { chown }),
    ...(chmod === undefined ? {} : { chmod }),
    link: flags.boolean('link') ?? false,
    exclude: flags.list('exclude'),
  };
}

/** The parts of the operation that COPY and ADD build alike, with words expanded. */
export function evaluateFiles(instruction: AddInstruction | CopyInstruction, from: FileSource, scope: Scope) {
  const { kind } = instruction;
  const sources = instruction.sources.map((source) => scope.expand(source));
  for (const source of sources) checkSource(kind, source, from, scope);
  const chown = instruction.chown === undefined ? '' : scope.expand(instruction.chown);
  const chmod = instruction.chmod === undefined ? '' : scope.expand(instruction.chmod);
  if (/[\s\p{C}]/u.test(chown)) throw scope.error(`--chown must be USER or USER:GROUP, not ${quote(chown)}`);
  if (chmod !== '') checkMode(chmod, scope);
  const written = scope.expand(instruction.destination);
  return {
    written,
    operation: {
      kind: 'copy',
      instruction: kind,
      from,
      sources,
      files: instruction.heredocs.map((heredoc) => {
        const text = heredocText(heredoc);
        return inlineFile(heredoc.name, heredoc.expands ? scope.expandContent(text) : text, scope);
      }),
      destination: resolveDestination(written, scope),
      ...(chown === '' ? {} : { chown }),
      ...(chmod === '' ? {} : { chmod }),
      link: instruction.link,
      exclude: instruction.exclude,
    } satisfies Partial<CopyOperation>,
  };
}

/** The history line of both. */
export function describeFiles(operation: CopyOperation, written: string): string {
  return [
    operation.instruction,
    ...(operation.parents ? ['--parents'] : []),
    ...(operation.chown === undefined ? [] : [`--chown=${operation.chown}`]),
    ...(operation.chmod === undefined ? [] : [`--chmod=${operation.chmod}`]),
    ...operation.sources,
    ...operation.files.map(({ name }) => `<<${name}`),
    written,
  ].join(' ');
}

function checkSource(kind: 'ADD' | 'COPY', source: string, from: FileSource, scope: Scope): void {
  withPlace(scope.error, () => {
    const where = sourceKind(source);
    if (where !== 'local' && kind === 'COPY') throw scope.error(`COPY does not fetch ${quote(source)}: ADD does`);
    if (where === 'local') checkSourcePath(source, from);
  });
}

/** Absolute; it keeps the `/` that says that it is a folder. */
function resolveDestination(written: string, { state }: Scope): string {
  const path = posix.resolve(workdirOf(state), written);
  const isFolder = written === '' || /(?:^|\/)\.{0,2}$/.test(written);
  return isFolder && path !== '/' ? `${path}/` : path;
}

function inlineFile(name: string, content: string, scope: Scope): InlineFile {
  if (name.includes('/') || name === '.' || name === '..') {
    throw scope.error(`${quote(name)} cannot be the name of a file: a here-document is named without a path`);
  }
  return { name, content };
}

function checkMode(mode: string, scope: Scope): void {
  const isOctal = /^0*[0-7]{1,4}$/.test(mode);
  const isSymbolic = /^[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+(?:,[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+)*$/.test(mode);
  if (isOctal || isSymbolic) return;
  throw scope.error(`--chmod must be octal from 0 to 7777, or symbolic such as u+x, not ${quote(mode)}`);
}

/** `--checksum` of ADD: one source that is fetched, and a digest of its kind. */
export function checkChecksum(checksum: string, sources: readonly string[], scope: Scope): void {
  const [source] = sources;
  const kind = sources.length === 1 && source !== undefined ? sourceKind(source) : 'local';
  if (kind === 'local') throw scope.error('--checksum needs exactly one source, an http, https or git address');
  if (kind === 'http' ? isDigest(checksum) : /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/.test(checksum)) return;
  const wanted = kind === 'http' ? 'sha256: and 64 hex digits' : 'the full id of a commit';
  throw scope.error(`--checksum must be ${wanted}, not ${quote(checksum)}`);
}
