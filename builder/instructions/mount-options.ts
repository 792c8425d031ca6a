// The options of `RUN --mount`: `key=value,key`, in the notation of CSV, and which of them a type of mount has.
import { closestWord } from '../../lib/closest-word.ts';
import { Problem } from '../dockerfile/problem.ts';
import { quote } from '../dockerfile/syntax-error.ts';

export const MOUNT_TYPES = ['bind', 'cache', 'tmpfs', 'secret', 'ssh'] as const;
export type MountType = (typeof MOUNT_TYPES)[number];

export type MountKey =
  | 'type'
  | 'target'
  | 'source'
  | 'from'
  | 'readonly'
  | 'readwrite'
  | 'id'
  | 'sharing'
  | 'required'
  | 'size'
  | 'mode'
  | 'uid'
  | 'gid'
  | 'env';

/** Values by key, not expanded; a key alone is `true`. */
export type MountOptions = ReadonlyMap<MountKey, string>;

const KEYS: ReadonlyMap<string, MountKey> = new Map<string, MountKey>([
  ['type', 'type'],
  ['target', 'target'],
  ['dst', 'target'],
  ['destination', 'target'],
  ['source', 'source'],
  ['src', 'source'],
  ['from', 'from'],
  ['readonly', 'readonly'],
  ['ro', 'readonly'],
  ['readwrite', 'readwrite'],
  ['rw', 'readwrite'],
  ['id', 'id'],
  ['sharing', 'sharing'],
  ['required', 'required'],
  ['size', 'size'],
  ['mode', 'mode'],
  ['uid', 'uid'],
  ['gid', 'gid'],
  ['env', 'env'],
]);
const SWITCHES: readonly MountKey[] = ['readonly', 'readwrite', 'required'];

const KEYS_OF: Readonly<Record<MountType, readonly MountKey[]>> = {
  bind: ['type', 'target', 'source', 'from', 'readonly', 'readwrite'],
  cache: ['type', 'target', 'source', 'from', 'readonly', 'readwrite', 'id', 'sharing', 'mode', 'uid', 'gid'],
  tmpfs: ['type', 'target', 'size', 'readwrite'],
  secret: ['type', 'target', 'source', 'readonly', 'id', 'required', 'mode', 'uid', 'gid', 'env'],
  ssh: ['type', 'target', 'readonly', 'id', 'required', 'mode', 'uid', 'gid'],
};

/** Splits the value of `--mount`. Throws Problem for what is not CSV, unknown and repeated keys and a key without value. */
export function splitMount(value: string): MountOptions {
  const options = new Map<MountKey, string>();
  for (const field of splitFields(value)) {
    const equals = field.indexOf('=');
    const written = (equals === -1 ? field : field.slice(0, equals)).trim().toLowerCase();
    const key = KEYS.get(written);
    if (key === undefined) {
      const meant = closestWord(written, KEYS.keys());
      throw new Problem(`unknown option ${quote(written)}${meant === undefined ? '' : `: did you mean ${meant}?`}`);
    }
    if (options.has(key)) throw new Problem(`option ${key} is there twice`);
    if (equals === -1 && !SWITCHES.includes(key)) throw new Problem(`option ${written} needs a value`);
    options.set(key, equals === -1 ? 'true' : field.slice(equals + 1));
  }
  return options;
}

/** Throws Problem for an option that mounts of the type do not have. */
export function checkMountKeys(type: MountType, options: MountOptions): void {
  for (const key of options.keys()) {
    if (KEYS_OF[type].includes(key)) continue;
    const known = KEYS_OF[type].filter((other) => other !== 'type').join(', ');
    throw new Problem(`option ${key} is none of a mount of type ${type}, which has ${known}`);
  }
}

// RFC 4180 on one line: a field in quotes may have commas, and quotes written twice.
function splitFields(value: string): string[] {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    let field: string;
    if (value[at] === '"') {
      const quoted = /"((?:[^"]|"")*)"/y;
      quoted.lastIndex = at;
      const [all, inside = ''] = quoted.exec(value) ?? [];
      if (all === undefined) throw new Problem('a quote is not closed');
      field = inside.replaceAll('""', '"');
      at += all.length;
    } else {
      const comma = value.indexOf(',', at);
      field = value.slice(at, comma === -1 ? undefined : comma);
      if (field.includes('"')) throw new Problem('a quote may only begin an option');
      at += field.length;
    }
    fields.push(field);
    if (at === value.length) return fields;
    if (value[at] !== ',') throw new Problem('a comma must follow a closing quote');
    at += 1;
  }
}

/** The type of a mount, `bind` when it is not said. Throws Problem for an unknown one. */
export function readMountType(options: MountOptions): MountType {
  const written = options.get('type') ?? 'bind';
  const type = MOUNT_TYPES.find((name) => name === written.toLowerCase());
  if (type !== undefined) return type;
  const meant = closestWord(written, MOUNT_TYPES);
  throw new Problem(
    `type ${quote(written)} is none of ${MOUNT_TYPES.join(', ')}${meant === undefined ? '' : `: did you mean ${meant}?`}`,
  );
}
