// Served objects as bytes in the format the client asked for.
import { stringify } from 'yaml';
import { mapSlices } from '../../lib/slices.ts';
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

/** A list, made in slices; in plain JSON by joining the bytes of its items. */
export async function renderList(call: Call, list: ServedList): Promise<Answer> {
  const { resource } = call;
  const format = chooseFormat(call.accept);
  const metadata = {
    resourceVersion: String(list.revision),
    ...(list.continueToken === undefined ? {} : { continue: list.continueToken }),
    ...(list.remaining === undefined ? {} : { remainingItemCount: list.remaining }),
  };
  if (format.as === 'table') {
    const tables = await mapSlices(list.items, (items) =>
      tableOf(
        call,
        items.map(({ object }) => object),
        metadata.resourceVersion,
        format,
      ),
    );
    const rows = tables.map((table) => table['rows'] as unknown[]);
    return encodeList(format, { ...tables[0], metadata }, 'rows', rows);
  }
  if (format.as === 'metadata') {
    const head = { kind: 'PartialObjectMetadataList', apiVersion: `meta.k8s.io/${format.version}`, metadata };
    const items = await mapSlices(list.items, (slice) => slice.map(({ object }) => partialMetadata(object, format)));
    return encodeList(format, head, 'items', items);
  }
  const head = { kind: resource.listKind, apiVersion: apiVersionOf(resource), metadata };
  if (format.encoding === 'yaml') return encodeList(format, head, 'items', [list.items.map(({ object }) => object)]);
  return joined(
    head,
    'items',
    list.items.map(({ bytes }) => bytes),
  );
}

/** `head` with the items of all slices in its last field `field`. */
async function encodeList(
  format: Format,
  head: Record<string, unknown>,
  field: string,
  slices: readonly (readonly unknown[])[],
): Promise<Answer> {
  if (format.encoding === 'yaml') return encode(format, 200, { ...head, [field]: slices.flat() });
  const { [field]: _, ...rest } = head;
  const parts = await mapSlices(slices.flat(), (items) => Buffer.from(JSON.stringify(items).slice(1, -1)));
  return joined(
    rest,
    field,
    parts.filter(({ length }) => length > 0),
  );
}

function joined(head: Record<string, unknown>, field: string, items: readonly Buffer[]): Answer {
  const parts: Buffer[] = [Buffer.from(`${JSON.stringify(head).slice(0, -1)},"${field}":[`)];
  for (const [index, item] of items.entries()) {
    if (index > 0) parts.push(COMMA);
    parts.push(item);
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
