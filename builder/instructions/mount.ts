// From `RUN --mount` to what is mounted: values expanded, checked and completed, as far as that needs no file system.
import { posix } from 'node:path';
import { closestWord } from '../../lib/closest-word.ts';
import { Problem, withPlace } from '../dockerfile/problem.ts';
import { quote, shown } from '../dockerfile/syntax-error.ts';
import type { FileSource, RunMount } from '../operations.ts';
import { resolveFrom } from '../stages/resolve-from.ts';
import { checkMountKeys, type MountKey, type MountOptions, readMountType, splitMount } from './mount-options.ts';
import type { Scope } from './scope.ts';
import { checkSourcePath } from './source-path.ts';
import { workdirOf } from './workdir.ts';

const SHARING = ['shared', 'private', 'locked'] as const;
const MAX_OWNER = 2 ** 32 - 2;
const MAX_ID_LENGTH = 256;

/** The mounts of a RUN, in order. Throws Invalid for one that is wrong, and for two on one path. */
export function evaluateMounts(values: readonly string[], scope: Scope): RunMount[] {
  const targets = new Set<string>();
  return values.map((value) =>
    withPlace(
      (problem, cause) => scope.error(`--mount=${shown(value)}: ${problem}`, cause),
      () => {
        const mount = evaluateMount(expandOptions(splitMount(value), scope), scope);
        if (mount.target !== undefined && targets.has(mount.target)) {
          throw new Problem(`another mount is on ${mount.target} already`);
        }
        if (mount.target !== undefined) targets.add(mount.target);
        return mount;
      },
    ),
  );
}

function expandOptions(written: MountOptions, scope: Scope): MountOptions {
  const options = new Map<MountKey, string>();
  // Where files come from is known before variables are.
  for (const [key, value] of written) options.set(key, key === 'from' ? value : scope.expand(value));
  return options;
}

function evaluateMount(options: MountOptions, scope: Scope): RunMount {
  const type = readMountType(options);
  checkMountKeys(type, options);
  switch (type) {
    case 'bind':
      return bindMount(options, scope);
    case 'cache':
      return cacheMount(options, scope);
    case 'tmpfs':
      return tmpfsMount(options, scope);
    case 'secret':
      return secretMount(options, scope);
    case 'ssh':
      throw new Problem('mounts of type ssh are not supported: give the key as a secret');
  }
}

function bindMount(options: MountOptions, scope: Scope): RunMount {
  const target = readTarget(options, scope);
  const isWritable = readWritable(options, false);
  const from = readFrom(options, scope) ?? { kind: 'context' };
  if (from !== 'scratch') return { type: 'bind', target, from, source: readSource(options, from), isWritable };
  // Nothing, and what is written there is thrown away: that is what a tmpfs is.
  if (isWritable && !options.has('source')) return { type: 'tmpfs', target };
  throw new Problem('scratch has no files: mount a tmpfs, or add rw for an empty folder');
}

function cacheMount(options: MountOptions, scope: Scope): RunMount {
  const target = readTarget(options, scope);
  const from = readFrom(options, scope) ?? 'scratch';
  if (from === 'scratch' && options.has('source')) throw new Problem('source needs a from');
  return {
    type: 'cache',
    target,
    id: readId(options.get('id') || target),
    ...(from === 'scratch' ? {} : { from }),
    source: from === 'scratch' ? '/' : readSource(options, from),
    sharing: readSharing(options),
    isReadOnly: !readWritable(options, true),
    mode: readMode(options, 0o755),
    uid: readOwner(options, 'uid'),
    gid: readOwner(options, 'gid'),
  };
}

function tmpfsMount(options: MountOptions, scope: Scope): RunMount {
  const target = readTarget(options, scope);
  if (!readWritable(options, true)) throw new Problem('a tmpfs that cannot be written to is of no use');
  const written = options.get('size');
  if (written === undefined) return { type: 'tmpfs', target };
  return { type: 'tmpfs', target, sizeBytes: parseSize(written) };
}

function secretMount(options: MountOptions, scope: Scope): RunMount {
  if (options.has('source') && options.has('id'))
    throw new Problem('source is another name of id: one of them is enough');
  const written = options.get('target');
  const id = readId(options.get('id') || options.get('source') || posix.basename(written ?? ''));
  if (readWritable(options, false)) throw new Problem('a secret cannot be written to');
  const env = options.get('env') === '' ? id : options.get('env');
  if (env !== undefined && !/^[A-Za-z_][A-Za-z0-9_]*$/.test(env))
    throw new Problem(`${quote(env)} is no name of a variable`);
  const place = written || (env === undefined ? `/run/secrets/${posix.basename(id)}` : undefined);
  return {
    type: 'secret',
    id,
    ...(place === undefined ? {} : { target: resolveTarget(place, scope) }),
    ...(env === undefined ? {} : { env }),
    isRequired: readSwitch(options, 'required', false),
    mode: readMode(options, 0o400),
    uid: readOwner(options, 'uid'),
    gid: readOwner(options, 'gid'),
  };
}

function readTarget(options: MountOptions, scope: Scope): string {
  const written = options.get('target');
  if (!written) throw new Problem('a target is needed');
  return resolveTarget(written, scope);
}

function resolveTarget(written: string, { state }: Scope): string {
  const target = posix.resolve(workdirOf(state), written);
  if (target === '/') throw new Problem('the target must not be /');
  return target;
}

function readFrom(options: MountOptions, { state }: Scope): FileSource | 'scratch' | undefined {
  const from = options.get('from');
  return from === undefined ? undefined : resolveFrom(from, state.index, state.plan);
}

/** Absolute below the root of where it comes from. */
function readSource(options: MountOptions, from: FileSource): string {
  const source = options.get('source') ?? '';
  checkSourcePath(source, from);
  return posix.resolve('/', source);
}

function readSharing(options: MountOptions): (typeof SHARING)[number] {
  const written = (options.get('sharing') ?? 'shared').toLowerCase();
  const sharing = SHARING.find((name) => name === written);
  if (sharing !== undefined) return sharing;
  const meant = closestWord(written, SHARING);
  throw new Problem(
    `sharing ${quote(written)} is none of ${SHARING.join(', ')}${meant === undefined ? '' : `: did you mean ${meant}?`}`,
  );
}

/** Ids name places on the disk of the node, so that they must not look like a way out of one. */
function readId(id: string): string {
  if (id === '') throw new Problem('an id or a target is needed');
  if (id.length > MAX_ID_LENGTH) throw new Problem(`the id has more than ${MAX_ID_LENGTH} characters`);
  if (/\p{C}/u.test(id)) throw new Problem('the id has a control character');
  if (id.split('/').some((part) => part === '..' || part === '.'))
    throw new Problem(`id ${quote(id)} has . or .. between slashes`);
  return id;
}

function readWritable(options: MountOptions, fallback: boolean): boolean {
  if (options.has('readonly') && options.has('readwrite')) throw new Problem('it is either readonly or readwrite');
  return options.has('readonly') ? !readSwitch(options, 'readonly', true) : readSwitch(options, 'readwrite', fallback);
}

function readSwitch(options: MountOptions, key: 'readonly' | 'readwrite' | 'required', fallback: boolean): boolean {
  const written = options.get(key);
  if (written === undefined) return fallback;
  if (/^(?:1|t|T|TRUE|true|True)$/.test(written)) return true;
  if (/^(?:0|f|F|FALSE|false|False)$/.test(written)) return false;
  throw new Problem(`${key} must be true or false, not ${quote(written)}`);
}

function readMode(options: MountOptions, fallback: number): number {
  const written = options.get('mode');
  if (written === undefined) return fallback;
  if (!/^0*[0-7]{1,4}$/.test(written)) throw new Problem(`mode must be octal from 0 to 7777, not ${quote(written)}`);
  return Number.parseInt(written, 8);
}

function readOwner(options: MountOptions, key: 'uid' | 'gid'): number {
  const written = options.get(key) ?? '0';
  if (!/^[0-9]{1,10}$/.test(written) || Number(written) > MAX_OWNER) {
    throw new Problem(`${key} must be a number from 0 to ${MAX_OWNER}, not ${quote(written)}`);
  }
  return Number(written);
}

/** Bytes of `64m`, `1.5GiB`, `1024`: in powers of 1024, whatever the unit's spelling, as Docker takes them. */
function parseSize(written: string): number {
  const [, amount = '', unit = ''] = /^([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?$/i.exec(written) ?? [];
  const bytes = Math.floor(Number(amount) * 1024 ** ' kmgtp'.indexOf(unit.toLowerCase() || ' '));
  if (amount === '' || bytes < 1 || !Number.isSafeInteger(bytes)) {
    throw new Problem(`size must be a number of bytes, such as 64m or 1g, not ${quote(written)}`);
  }
  return bytes;
}
