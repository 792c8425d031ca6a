// Request bodies: JSON, YAML or protobuf to an object, and the fields that were written twice.
import { parseAllDocuments } from 'yaml';
import { messageOf, WindlassError } from '../../lib/errors.ts';
import { decodeProtobuf } from '../protobuf/decode.ts';
import { findDuplicateFields, findDuplicateYamlFields } from '../schema/duplicate-fields.ts';
import { badRequest } from './api-errors.ts';
import { refuseDeepNesting, tooDeep } from './nesting.ts';

/** The most bytes a request may carry. */
export const MAX_BODY_BYTES = 3 * 1024 * 1024;

/** The most of them as YAML, which takes twenty times as long to read as JSON, while nobody else is served. */
const MAX_YAML_BYTES = 512 * 1024;

const YAML_TYPES = new Set(['application/yaml', 'text/yaml', 'application/x-yaml', 'application/apply-patch+yaml']);
export const PROTOBUF_TYPE = 'application/vnd.kubernetes.protobuf';

export interface DecodedBody {
  readonly object: Record<string, unknown>;
  /** Paths of fields that appear twice in one mapping. */
  readonly duplicates: readonly string[];
}

/** Decodes `body` as `contentType` says. BadRequest for what cannot be read, UnsupportedMediaType for other types. */
export function decodeBody(body: Buffer, contentType: string): DecodedBody {
  if (contentType === PROTOBUF_TYPE) {
    try {
      const object = asObject(decodeProtobuf(body));
      refuseDeepNesting(object);
      return { object, duplicates: [] };
    } catch (error) {
      if (error instanceof WindlassError) throw error;
      throw badRequest(`unable to decode the protobuf body: ${messageOf(error)}`, error);
    }
  }
  if (YAML_TYPES.has(contentType)) {
    if (body.length > MAX_YAML_BYTES) {
      const message = `Request entity too large: limit for YAML is ${MAX_YAML_BYTES}, send JSON`;
      throw new WindlassError('RequestEntityTooLarge', message);
    }
    return decodeYaml(body.toString());
  }
  if (!contentType.endsWith('json') && contentType !== 'text/plain' && contentType !== '*/*') {
    throw new WindlassError(
      'UnsupportedMediaType',
      `the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, ${PROTOBUF_TYPE}`,
    );
  }
  const text = body.toString();
  return { object: asObject(parseJson(text)), duplicates: findDuplicateFields(text) };
}

/** JSON.parse() whose failure is a BadRequest, as is nesting without end. */
export function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text) as unknown;
  } catch (error) {
    throw badRequest(`couldn't get version/kind; json parse error: ${messageOf(error)}`, error);
  }
  refuseDeepNesting(value);
  return value;
}

function decodeYaml(text: string): DecodedBody {
  try {
    const documents = parseAllDocuments(text, { uniqueKeys: false });
    const first = Array.isArray(documents) ? documents[0] : undefined;
    if (!first || documents.length !== 1) throw badRequest('the body must be exactly one YAML document');
    // The parser calls itself too, and reports running out of stack as an error of the text.
    if (first.errors.some(({ message }) => message.includes('call stack'))) throw tooDeep();
    if (first.errors[0]) throw badRequest(`error converting YAML to JSON: ${first.errors[0].message}`);
    const data: unknown = first.toJS({ maxAliasCount: 100 });
    refuseDeepNesting(data);
    return { object: asObject(data), duplicates: findDuplicateYamlFields(first) };
  } catch (error) {
    if (error instanceof WindlassError) throw error;
    if (error instanceof RangeError) throw tooDeep();
    throw badRequest(`error converting YAML to JSON: ${messageOf(error)}`, error);
  }
}

function asObject(data: unknown): Record<string, unknown> {
  if (data === null || typeof data !== 'object' || Array.isArray(data)) {
    throw badRequest("couldn't get version/kind; the body is not an object");
  }
  return data as Record<string, unknown>;
}
