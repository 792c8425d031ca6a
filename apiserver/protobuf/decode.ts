// Protobuf bodies of the built-in kinds as the JSON objects they stand for. kubectl since 1.32 and every typed Go client
// write them; answers are JSON, which those clients take as well.
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { WindlassError } from '../../lib/errors.ts';
import { toJson } from './to-json.ts';

/** Written before the envelope so that stored bytes are told from JSON: `k8s` and a zero byte. */
const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00]);

const FILES = [
  'meta',
  'core',
  'coordination',
  'certificates',
  'events',
  'rbac',
  'authorization',
  'authentication',
  'autoscaling',
  'policy',
  'apiextensions',
];

interface Envelope {
  readonly typeMeta?: { readonly apiVersion?: string; readonly kind?: string };
  readonly raw?: Uint8Array;
  readonly contentType?: string;
  readonly contentEncoding?: string;
}

let loaded: protobuf.Root | undefined;

// Parsing the definitions takes some milliseconds, which a process that gets no protobuf need not spend.
function definitions(): protobuf.Root {
  if (!loaded) {
    const root = new protobuf.Root();
    root.loadSync(
      FILES.map((name) => fileURLToPath(new URL(`${name}.proto`, import.meta.url))),
      { keepCase: true },
    );
    root.resolveAll();
    loaded = root;
  }
  return loaded;
}

/**
 * Decodes a body of type application/vnd.kubernetes.protobuf. BadRequest for bytes that are not such a body, and for
 * kinds that no definition here describes.
 */
export function decodeProtobuf(bytes: Uint8Array): Record<string, unknown> {
  if (bytes.length < MAGIC.length || MAGIC.compare(bytes, 0, MAGIC.length) !== 0) {
    throw new WindlassError(
      'BadRequest',
      'provided data does not appear to be a protobuf message, expected prefix k8s\\0',
    );
  }
  const envelope = decode(definitions().lookupType('meta.v1.Unknown'), bytes.subarray(MAGIC.length)) as Envelope;
  const { apiVersion = '', kind = '' } = envelope.typeMeta ?? {};
  const raw = envelope.raw ?? new Uint8Array();
  if (envelope.contentEncoding !== undefined && envelope.contentEncoding !== '') {
    throw new WindlassError(
      'BadRequest',
      `the body has the content encoding ${envelope.contentEncoding}, which is not supported`,
    );
  }
  if (envelope.contentType === 'application/json')
    return JSON.parse(Buffer.from(raw).toString()) as Record<string, unknown>;
  const type = typeOf(apiVersion, kind);
  if (!type) throw new WindlassError('BadRequest', `no kind "${kind}" is registered for version "${apiVersion}"`);
  const metadata = type.fields['metadata'] ? { metadata: {} } : {};
  return { apiVersion, kind, ...metadata, ...toJson(type, decode(type, raw) as Record<string, unknown>) };
}

function decode(type: protobuf.Type, bytes: Uint8Array): unknown {
  try {
    return type.decode(bytes);
  } catch (error) {
    throw new WindlassError('BadRequest', `unable to decode a protobuf message of type ${type.name}`, { cause: error });
  }
}

/** `rbac.authorization.k8s.io/v1` lives in package `rbac.v1`; options of deletion have the version of what they delete. */
function typeOf(apiVersion: string, kind: string): protobuf.Type | undefined {
  if (kind === 'DeleteOptions') return definitions().lookupType('meta.v1.DeleteOptions');
  const [, group = '', version = ''] = /^(?:([a-z0-9.-]+)\/)?(v[a-z0-9]+)$/.exec(apiVersion) ?? [];
  if (!/^[A-Z][A-Za-z]{0,63}$/.test(kind) || version === '') return undefined;
  const found = definitions().lookup(
    [group === '' ? 'core' : (group.split('.')[0] ?? ''), version, kind],
    protobuf.Type,
  );
  return found instanceof protobuf.Type && found.fields['metadata'] ? found : undefined;
}
