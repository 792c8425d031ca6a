// Decoded messages to JSON as Go's encoder writes the same object: names, times, quantities, and what is left out.
import protobuf from 'protobufjs';
import { setOwn, type JsonObject } from '../schema/objects.ts';

/** Deeper than any real object; a message nested without end must not exhaust the stack. */
const MAX_DEPTH = 200;

const SCHEMA_PROPS = '.apiextensions.v1.JSONSchemaProps';

/** Field names that are not the same in JSON. */
const JSON_NAMES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  [SCHEMA_PROPS]: { ref: '$ref', schema: '$schema' },
  '.authentication.v1.BoundObjectReference': { uID: 'uid' },
};

type Message = Record<string, unknown>;

interface Wire {
  readonly seconds?: unknown;
  readonly nanos?: number;
  readonly string?: string;
  readonly type?: unknown;
  readonly intVal?: number;
  readonly strVal?: string;
  readonly items?: readonly string[];
}

/** Messages that are not objects in JSON. Undefined leaves the field out. */
const SCALARS: Readonly<Record<string, (message: Wire & Message, depth: number, type: protobuf.Type) => unknown>> = {
  '.meta.v1.Time': (time) => timestamp(time, 0),
  '.meta.v1.MicroTime': (time) => timestamp(time, 6),
  '.meta.v1.Quantity': (quantity) => quantity.string ?? '0',
  '.meta.v1.IntOrString': (value) => (Number(value.type ?? 0) === 0 ? (value.intVal ?? 0) : (value.strVal ?? '')),
  '.meta.v1.FieldsV1': (fields) => parseRaw(fields['Raw']),
  '.authorization.v1.ExtraValue': (extra) => extra.items ?? [],
  '.apiextensions.v1.JSON': (json) => parseRaw(json['raw']),
  '.apiextensions.v1.JSONSchemaPropsOrBool': (either, depth, type) =>
    either['schema'] ? schemaToJson(type, either['schema'], depth) : either['allows'] === true,
  '.apiextensions.v1.JSONSchemaPropsOrArray': (either, depth, type) =>
    either['schema']
      ? schemaToJson(type, either['schema'], depth)
      : ((either['jSONSchemas'] as unknown[] | undefined) ?? []).map((schema) => schemaToJson(type, schema, depth)),
};

/** The fields of `message` that JSON would have. */
export function toJson(type: protobuf.Type, message: Message): JsonObject {
  return messageToJson(type, message, 0);
}

function messageToJson(type: protobuf.Type, message: Message, depth: number): JsonObject {
  if (depth > MAX_DEPTH) throw new Error(`the message is nested deeper than ${MAX_DEPTH} levels`);
  const result: JsonObject = {};
  for (const field of type.fieldsArray) {
    if (!Object.hasOwn(message, field.name)) continue;
    const value = fieldToJson(field, message[field.name], depth);
    if (value !== undefined) setOwn(result, jsonName(type, field.name), value);
  }
  return result;
}

function jsonName(type: protobuf.Type, name: string): string {
  const special = JSON_NAMES[type.fullName]?.[name];
  if (special !== undefined) return special;
  // xKubernetesListType -> x-kubernetes-list-type
  return name.startsWith('xKubernetes') ? name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`) : name;
}

function fieldToJson(field: protobuf.Field, value: unknown, depth: number): unknown {
  if (field instanceof protobuf.MapField) {
    const entries = Object.entries(value as Message);
    if (entries.length === 0) return undefined;
    const result: JsonObject = {};
    for (const [key, inner] of entries) setOwn(result, key, valueToJson(field, inner, depth) ?? null);
    return result;
  }
  if (field.repeated) {
    const list = value as unknown[];
    return list.length === 0 ? undefined : list.map((inner) => valueToJson(field, inner, depth) ?? null);
  }
  const json = valueToJson(field, value, depth);
  const isPointer = field.options?.['proto3_optional'] === true;
  return isPointer || !isZero(field, json) ? json : undefined;
}

function valueToJson(field: protobuf.Field, value: unknown, depth: number): unknown {
  const type = field.resolvedType;
  if (type instanceof protobuf.Type) {
    const scalar = SCALARS[type.fullName];
    return scalar ? scalar(value as Wire & Message, depth + 1, type) : messageToJson(type, value as Message, depth + 1);
  }
  if (field.type === 'bytes') return Buffer.from(value as Uint8Array).toString('base64');
  // 64-bit numbers come as objects of two halves.
  return typeof value === 'object' ? toNumber(value) : value;
}

function isZero(field: protobuf.Field, json: unknown): boolean {
  if (json === undefined || json === '' || json === 0) return true;
  const isMessage = field.resolvedType instanceof protobuf.Type;
  // A decoded bool or object that is a value of its own stays, such as `additionalProperties: false`.
  if (json === false) return !isMessage;
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return false;
  return (
    Object.keys(json).length === 0 &&
    SCALARS[field.resolvedType?.fullName ?? ''] === undefined &&
    !isEmptyPresent(field)
  );
}

/** `items: {}` is a schema that says nothing, not an absent one. */
const isEmptyPresent = (field: protobuf.Field): boolean => field.resolvedType?.fullName === SCHEMA_PROPS;

function schemaToJson(holder: protobuf.Type, schema: unknown, depth: number): unknown {
  const type = holder.fields['schema']?.resolvedType;
  return type instanceof protobuf.Type ? messageToJson(type, schema as Message, depth) : undefined;
}

function parseRaw(raw: unknown): unknown {
  const text = Buffer.from((raw as Uint8Array | undefined) ?? []).toString();
  return text === '' ? undefined : (JSON.parse(text) as unknown);
}

function timestamp({ seconds, nanos = 0 }: Wire, digits: 0 | 6): string | undefined {
  const whole = toNumber(seconds ?? 0);
  if (whole === 0 && nanos === 0) return undefined;
  const base = new Date(whole * 1000).toISOString().slice(0, 19);
  const fraction = String(nanos).padStart(9, '0').slice(0, digits);
  return digits === 0 ? `${base}Z` : `${base}.${fraction}Z`;
}

function toNumber(value: unknown): number {
  return typeof value === 'number' ? value : Number((value as { toString(): string }).toString());
}
