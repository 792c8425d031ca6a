// Applies tars below a root that lies inside a folder whose other content must not change.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createLayerApplier,
  DEFAULT_APPLY_OPTIONS,
  type ApplyOptions,
  type ApplyResult,
} from '../../oci/layers/apply.ts';
import { nativePath } from '../../oci/layers/file-system-calls.ts';
import { createLayerFiles } from '../../runtime-shim/host/layer-files.ts';
import { makeTar, type TarItem } from './images.ts';

export interface LayerSandbox extends Disposable {
  readonly root: string;
  /** A folder beside the root, with a file `secret` in it. */
  readonly outside: string;
  apply(tar: Buffer | readonly TarItem[], options?: Partial<ApplyOptions>): ApplyResult;
  /** Every path below the root, sorted, with what it is. */
  list(): Record<string, string>;
  /** What everything outside the root looks like, to compare before and after. */
  surroundings(): unknown;
}

/** Makes an empty root with something worth attacking beside it. */
export function openLayerSandbox(): LayerSandbox {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-layer-'));
  const root = join(folder, 'a/root');
  const outside = join(folder, 'outside');
  mkdirSync(root, { recursive: true });
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'untouched');
  chmodSync(join(outside, 'secret'), 0o600);
  const describe = (bytes: string): string => {
    const path = nativePath(bytes);
    const stat = lstatSync(path);
    const mode = (stat.mode & 0o7777).toString(8);
    if (stat.isSymbolicLink()) return `-> ${readlinkSync(path)}`;
    if (stat.isFile()) return `${mode} ${stat.size <= 64 ? readFileSync(path, 'latin1') : `${stat.size} bytes`}`;
    if (stat.isCharacterDevice()) return stat.rdev === 0 ? 'whiteout' : `char ${stat.rdev}`;
    return stat.isDirectory() ? `dir ${mode}` : `other ${mode}`;
  };
  const walk = (at: string, name: string, into: Record<string, string>, skip?: string): Record<string, string> => {
    for (const entry of readdirSync(nativePath(at), { encoding: 'latin1' })) {
      const path = `${at}/${entry}`;
      if (path === skip) continue;
      const key = name === '' ? entry : `${name}/${entry}`;
      into[key] = describe(path);
      if (into[key].startsWith('dir')) walk(path, key, into, skip);
    }
    return into;
  };
  return {
    root,
    outside,
    apply(tar, options) {
      const applier = createLayerApplier(root, createLayerFiles(), { ...DEFAULT_APPLY_OPTIONS, ...options });
      const bytes = Buffer.isBuffer(tar) ? tar : makeTar(tar as readonly TarItem[]);
      // Odd pieces, so that every state of the reader meets a border.
      for (let at = 0; at < bytes.length; at += 777) applier.reader.write(bytes.subarray(at, at + 777));
      applier.reader.end();
      return applier.finish();
    },
    list: () => walk(root, '', {}),
    surroundings: () => [
      walk(folder, '', {}, root),
      lstatSync(join(outside, 'secret'), { bigint: true }).ctimeNs,
      readdirSync('/tmp').filter((name) => name.startsWith('windlass-escape')),
    ],
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** An extended attribute as getfattr-like text; undefined when absent. */
export function xattrOf(path: string, name: string): string | undefined {
  return createLayerFiles().readXattrs(path).get(name)?.toString('latin1');
}

/** GNU tar of a folder, for what only a real tar writes (sparse files, long names). */
export function gnuTar(folder: string, ...flags: string[]): Buffer {
  return execFileSync('tar', ['-C', folder, ...flags, '-cf', '-', '.'], { maxBuffer: 64 * 1024 * 1024 });
}
