// Served objects as bytes in the format the client asked for.
import { stringify } from 'yaml';
import { apiVersionOf } from '../resources/registry.ts';
import type { StoredObject } from '../resources/resource.ts';
import { toTable } from '../table/table.ts';
import type { Answer, Call } from './call.ts';
import { chooseFormat, type Format } from './answer-format.ts';
import { optionInvalid } from './request-options.ts';
import type { Served } from './served.ts';

export interface ServedList {
  readonly items: readonly Served[];
  readonly revision: number;
  readonly continueToken?: string;
  readonly remaining?: number;
}

/** One object. */
export function renderObject(call: Call, served: Served, status: number): Answer {
  const format = chooseFormat(call.accept);
  switch (format.as) {
    case 'object':
      return format.encoding === 'json'
        ? { status, contentType: 'application/json', body: served.bytes }
        : encode(format, status, served.object);
    case 'table':
      return encode(format, status, tableOf(call, [served.object], String(served.revision), format));
    case 'metadata':
      return encode(format, status, partialMetadata(served.object, format));
  }
}

/** A list; in plain JSON by joining the bytes of its items. */
export function renderList(call: Call, list: ServedList): Answer {
  const { resource } = call;
  const format = chooseFormat(call.accept);
  const metadata = {
    resourceVersion: String(list.revision),
    ...(list.continueToken === undefined ? {} : { continue: list.continueToken }),
    ...(list.remaining === undefined ? {} : { remainingItemCount: list.remaining }),
  };
  if (format.as === 'table') {
    const objects = list.items.map((item) => item.object);
    const table = tableOf(call, objects, metadata.resourceVersion, format);
    return encode(format, 200, { ...table, metadata });
  }
  if (format.as === 'metadata') {
    const apiVersion = `meta.k8s.io/${format.version}`;
    const items = list.items.map((item) => partialMetadata(item.object, format));
    return encode(format, 200, { kind: 'PartialObjectMetadataList', apiVersion, metadata, items });
  }
  const head = { kind: resource.listKind, apiVersion: apiVersionOf(resource), metadata };
  if (format.encoding === 'yaml') return encode(format, 200, { ...head, items: list.items.map((item) => item.object) });
  const parts: Buffer[] = [Buffer.from(`${JSON.stringify(head).slice(0, -1)},"items":[`)];
  for (const [index, item] of list.items.entries()) {
    if (index > 0) parts.push(COMMA);
    parts.push(item.bytes);
  }
  parts.push(END);
  return { status: 200, contentType: 'application/json', body: Buffer.concat(parts) };
}

const COMMA = Buffer.from(',');
const END = Buffer.from(']}\n');

/** The object's metadata alone, as the kind clients that only look at metadata ask for. */
export function partialMetadata(object: StoredObject, { version }: Format): Record<string, unknown> {
  return { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${version}`, metadata: object.metadata };
}

/** A Table of `objects`; `columns: false` leaves the definitions out, as later events of a watch do. */
export function tableOf(
  call: Call,
  objects: readonly StoredObject[],
  resourceVersion: string,
  format: Format,
  options: { columns?: boolean } = {},
): Record<string, unknown> {
  const include = call.query.get('includeObject') || 'Metadata';
  if (include !== 'None' && include !== 'Metadata' && include !== 'Object') {
    throw optionInvalid(
      'includeObject',
      include,
      'FieldValueNotSupported',
      'supported values: "Metadata", "Object", "None"',
    );
  }
  return {
    ...toTable(call.resource, objects, {
      includeObject: include,
      now: call.context.now,
      version: format.version,
      listMeta: { resourceVersion },
      noHeaders: options.columns === false,
    }),
  };
}

/** The media type of an answer in `format`. */
export function contentTypeOf(format: Format): string {
  return format.encoding === 'yaml' ? 'application/yaml' : 'application/json';
}

function encode(format: Format, status: number, data: unknown): Answer {
  const body = format.encoding === 'yaml' ? stringify(data, { aliasDuplicateObjects: false }) : JSON.stringify(data);
  return { status, contentType: contentTypeOf(format), body };
}
