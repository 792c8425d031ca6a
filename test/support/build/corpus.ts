// The corpus of Dockerfiles in test/conformance/build/cases: a folder is a build context, beside it what git cannot hold
// (empty folders, pipes, odd modes, archives) and what the build is asked for, in `case.json`.
import { createHash } from 'node:crypto';
import {
  chmodSync,
  lchownSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  existsSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { z } from 'zod';
import { makeTar, type TarItem } from '../images.ts';

const CASES = fileURLToPath(new URL('../../conformance/build/cases/', import.meta.url));
const OPTIONS_FILE = 'case.json';
/** 2024-01-01, in seconds. */
const FIRST_TIME = 1_704_067_200;

/** Who can be asked: docker's legacy builder, BuildKit inside dockerd, BuildKit by itself, buildah. */
export const PEERS = ['docker', 'docker-buildkit', 'buildkit', 'buildah'] as const;
export type PeerId = (typeof PEERS)[number];

/** What is at fault in a case that must fail. */
export type FaultKind = 'parse' | 'context' | 'image' | 'command';

const ownerSchema = { mode: z.string().optional(), uid: z.number().optional(), gid: z.number().optional() };
const packedSchema = z.strictObject({
  ...ownerSchema,
  content: z.string().optional(),
  /** Of a file of zeros. */
  size: z.number().optional(),
  target: z.string().optional(),
  hardlink: z.string().optional(),
  /** Values as hex digits. */
  xattrs: z.record(z.string(), z.string()).default({}),
});
const madeSchema = z.strictObject({
  ...ownerSchema,
  type: z.enum(['file', 'directory', 'symlink', 'tar', 'gzip']),
  content: z.string().optional(),
  size: z.number().optional(),
  target: z.string().optional(),
  files: z.record(z.string(), packedSchema).optional(),
  gzip: z.boolean().optional(),
  /** The archive ends after so many bytes. */
  cut: z.number().optional(),
});
const optionsSchema = z.strictObject({
  dockerfile: z.string().default('Dockerfile'),
  target: z.string().optional(),
  args: z.record(z.string(), z.string()).default({}),
  labels: z.record(z.string(), z.string()).default({}),
  secrets: z.record(z.string(), z.string()).default({}),
  /** What the files of the result are compared with, so that only what the build changed is written down. */
  base: z.enum(['busybox', 'scratch']).default('busybox'),
  /** Who is right where builders differ, if not the one that is believed first (recorded.ts), and why. */
  follow: z.enum(PEERS).optional(),
  because: z.string().optional(),
  fails: z
    .strictObject({
      kind: z.enum(['parse', 'context', 'image', 'command']),
      /** Of the Dockerfile. */
      line: z.number().optional(),
      /** A piece of the message. */
      says: z.string().optional(),
    })
    .optional(),
  context: z.record(z.string(), madeSchema).default({}),
});

type MadeFile = z.infer<typeof madeSchema>;

export type BuildCase = z.infer<typeof optionsSchema> & { readonly name: string; readonly folder: string };

/** All cases in order of their names. */
export function readCases(): BuildCase[] {
  return readdirSync(CASES)
    .sort()
    .map((name) => {
      const folder = join(CASES, name);
      const file = join(folder, OPTIONS_FILE);
      const options: unknown = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
      return { ...optionsSchema.parse(options), name, folder };
    });
}

/** Writes the context of a case into the empty `folder`; modes are those that the case says, whatever the checkout has. */
export function writeContext(buildCase: BuildCase, folder: string): void {
  copyFolder(buildCase.folder, folder, [OPTIONS_FILE]);
  for (const [name, made] of Object.entries(buildCase.context)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    writeMade(path, made);
    if (made.uid !== undefined || made.gid !== undefined) lchownSync(path, made.uid ?? 0, made.gid ?? 0);
    // Last: a change of owner takes the setuid bit away.
    if (made.mode !== undefined) chmodSync(path, parseInt(made.mode, 8));
  }
  setTimes(folder);
}

/**
 * The time of a file comes from what is in it: equal ones in two cases are one step of the cache, whose layer has the time
 * of the first; and BuildKit takes a file of the same path, size and time for the one that it was sent before.
 */
function setTimes(folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const hash = createHash('sha256').update(entry.isFile() ? readFileSync(path) : '');
    const seconds = FIRST_TIME + hash.digest().readUIntBE(0, 3);
    lutimesSync(path, seconds, seconds);
  }
  lutimesSync(folder, FIRST_TIME, FIRST_TIME);
}

function copyFolder(from: string, to: string, except: readonly string[] = []): void {
  mkdirSync(to, { recursive: true });
  chmodSync(to, 0o755);
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    if (except.includes(entry.name)) continue;
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) {
      copyFolder(source, target);
      continue;
    }
    writeFileSync(target, readFileSync(source));
    chmodSync(target, (statSync(source).mode & 0o100) === 0 ? 0o644 : 0o755);
  }
}

function writeMade(path: string, made: MadeFile): void {
  switch (made.type) {
    case 'directory':
      mkdirSync(path, { recursive: true });
      chmodSync(path, 0o755);
      return;
    case 'symlink':
      symlinkSync(made.target ?? '', path);
      return;
    case 'file':
      writeFileSync(path, made.content ?? '');
      if (made.size !== undefined) truncateSync(path, made.size);
      break;
    case 'gzip':
      writeFileSync(path, gzipSync(made.content ?? ''));
      break;
    case 'tar':
      writeFileSync(path, packFiles(made));
  }
  chmodSync(path, 0o644);
}

function packFiles({ files = {}, gzip, cut }: MadeFile): Buffer {
  const items = Object.entries(files).map(([name, file]): TarItem => {
    const { mode, uid = 0, gid = 0, content, size, target, hardlink } = file;
    const xattrs = new Map(Object.entries(file.xattrs).map(([key, value]) => [key, Buffer.from(value, 'hex')]));
    const owner = { name, uid, gid, xattrs, ...(mode === undefined ? {} : { mode: parseInt(mode, 8) }) };
    if (name.endsWith('/')) return { ...owner, type: 'directory' };
    if (target !== undefined) return { ...owner, type: 'symlink', linkName: target };
    if (hardlink !== undefined) return { ...owner, type: 'hardlink', linkName: hardlink };
    return { ...owner, content: size === undefined ? (content ?? '') : Buffer.alloc(size) };
  });
  const tar = makeTar(items).subarray(0, cut);
  return gzip === true ? gzipSync(tar) : tar;
}
