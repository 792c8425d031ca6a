// The environment of a container: sources in order, and $(VAR) expansion, as kubelet does it.

export interface KeySource {
  readonly name: string;
  readonly key: string;
  readonly optional?: boolean | undefined;
}
export interface EnvEntry {
  readonly name: string;
  readonly value?: string | undefined;
  readonly valueFrom?:
    | {
        readonly configMapKeyRef?: KeySource | undefined;
        readonly secretKeyRef?: KeySource | undefined;
        readonly fieldRef?: { readonly fieldPath: string } | undefined;
      }
    | undefined;
}
export interface EnvSource {
  readonly prefix?: string | undefined;
  readonly configMapRef?: { readonly name: string; readonly optional?: boolean | undefined } | undefined;
  readonly secretRef?: { readonly name: string; readonly optional?: boolean | undefined } | undefined;
}

/** Decoded contents, by object name; undefined = the object does not exist. */
export interface EnvLookup {
  configMap(name: string): Readonly<Record<string, Buffer>> | undefined;
  secret(name: string): Readonly<Record<string, Buffer>> | undefined;
  /** The value of a field of the Container; undefined when it is not known (yet). */
  field(path: string): string | undefined;
}

export type EnvResult =
  | { readonly ok: true; readonly env: readonly { key: string; value: string }[] }
  /** What is missing, as a sentence: the container waits for it. */
  | { readonly ok: false; readonly message: string };

// What cannot be a variable's name: kubelet skips such keys of envFrom.
const VALID_NAME = /^[ -<>-~]+$/;

/** Builds the environment; `envFrom` comes first, later names win, `optional` sources may be absent. */
export function buildEnv(entries: readonly EnvEntry[], sources: readonly EnvSource[], lookup: EnvLookup): EnvResult {
  const values = new Map<string, string>();
  for (const source of sources) {
    const isSecret = source.secretRef !== undefined;
    const ref = source.secretRef ?? source.configMapRef;
    if (!ref) continue;
    const data = isSecret ? lookup.secret(ref.name) : lookup.configMap(ref.name);
    if (!data) {
      if (ref.optional) continue;
      return { ok: false, message: `${isSecret ? 'secret' : 'configmap'} "${ref.name}" not found` };
    }
    for (const [key, value] of Object.entries(data)) {
      const name = `${source.prefix ?? ''}${key}`;
      if (VALID_NAME.test(name)) values.set(name, value.toString('utf8'));
    }
  }
  for (const entry of entries) {
    const from = entry.valueFrom;
    if (!from) {
      values.set(entry.name, expandVariables(entry.value ?? '', values));
      continue;
    }
    const found = readValueFrom(from, lookup);
    if (typeof found === 'string') values.set(entry.name, found);
    else if (found.message !== undefined) return { ok: false, message: found.message };
  }
  return { ok: true, env: [...values].map(([key, value]) => ({ key, value })) };
}

function readValueFrom(from: NonNullable<EnvEntry['valueFrom']>, lookup: EnvLookup): string | { message?: string } {
  if (from.fieldRef) return lookup.field(from.fieldRef.fieldPath) ?? '';
  const isSecret = from.secretKeyRef !== undefined;
  const ref = from.secretKeyRef ?? from.configMapKeyRef;
  if (!ref) return {};
  const kind = isSecret ? 'secret' : 'configmap';
  const data = isSecret ? lookup.secret(ref.name) : lookup.configMap(ref.name);
  if (!data) return ref.optional ? {} : { message: `${kind} "${ref.name}" not found` };
  const value = data[ref.key];
  if (value === undefined)
    return ref.optional ? {} : { message: `key "${ref.key}" not found in ${kind} "${ref.name}"` };
  return value.toString('utf8');
}

/** Replaces `$(NAME)` by a known variable; `$$` is a plain `$`; an unknown name stays as it is written. */
export function expandVariables(text: string, values: ReadonlyMap<string, string>): string {
  return text.replace(/\$(?:\$|\(([^()$]+)\))/g, (whole: string, name: string | undefined) => {
    if (whole === '$$') return '$';
    return (name === undefined ? undefined : values.get(name)) ?? whole;
  });
}
