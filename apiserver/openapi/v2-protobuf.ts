// The v2 document in protobuf, which is the only form old kubectl takes (gnostic's openapi.v2.Document).
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { isObject } from '../schema/objects.ts';
import type { Published } from './definitions.ts';
import type { OpenApiV2Document } from './v2.ts';

/** The Content-Type of the answer. Clients ask with `@` before the version, which no media type may have. */
export const OPENAPI_V2_PROTOBUF_TYPE = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';
/** What clients write in Accept for it. */
export const OPENAPI_V2_PROTOBUF_ACCEPTS = [
  'application/com.github.proto-openapi.spec.v2@v1.0+protobuf',
  OPENAPI_V2_PROTOBUF_TYPE,
] as const;

let documentType: protobuf.Type | undefined;

function loadDocumentType(): protobuf.Type {
  documentType ??= protobuf
    .loadSync(fileURLToPath(new URL('openapi-v2.proto', import.meta.url)))
    .lookupType('openapi.v2.Document');
  return documentType;
}

/** The bytes that a client which accepts OPENAPI_V2_PROTOBUF_TYPE expects. */
export function encodeOpenApiV2(document: OpenApiV2Document): Uint8Array {
  const type = loadDocumentType();
  const message = type.create({
    swagger: document.swagger,
    info: document.info,
    paths: { path: named(document.paths, pathItem) },
    definitions: { additionalProperties: named(document.definitions, schemaMessage) },
  });
  return type.encode(message).finish();
}

function named<T>(
  map: Readonly<Record<string, Published>>,
  convert: (value: Published) => T,
): { name: string; value: T }[] {
  return Object.entries(map).map(([name, value]) => ({ name, value: convert(value) }));
}

/** Values that have no message of their own travel as YAML text; JSON is YAML. */
const any = (value: unknown): { yaml: string } => ({ yaml: JSON.stringify(value) });

function extensions(value: Published): { name: string; value: { yaml: string } }[] {
  return Object.entries(value)
    .filter(([key]) => key.startsWith('x-'))
    .map(([name, inner]) => ({ name, value: any(inner) }));
}

function pathItem(item: Published): Published {
  return Object.fromEntries(Object.entries(item).map(([verb, value]) => [verb, operation(value as Published)]));
}

function operation(value: Published): Published {
  const responses = isObject(value['responses']) ? value['responses'] : {};
  return {
    operationId: value['operationId'],
    parameters: (value['parameters'] as Published[]).map((parameter) => ({
      parameter: { nonBodyParameter: { queryParameterSubSchema: parameter } },
    })),
    responses: {
      responseCode: Object.entries(responses as Record<string, Published>).map(([name, response]) => ({
        name,
        value: {
          response: {
            description: response['description'],
            schema: { schema: schemaMessage(response['schema'] as Published) },
          },
        },
      })),
    },
    vendorExtension: extensions(value),
  };
}

function schemaMessage(schema: Published): Published {
  const { type, properties, items, additionalProperties } = schema;
  const children = isObject(properties) ? (properties as Record<string, Published>) : undefined;
  return {
    ...(schema['$ref'] === undefined ? {} : { Ref: schema['$ref'] }),
    format: schema['format'],
    title: schema['title'],
    description: schema['description'],
    required: schema['required'] ?? [],
    enum: ((schema['enum'] as unknown[] | undefined) ?? []).map(any),
    ...(type === undefined ? {} : { type: { value: [type] } }),
    ...(isObject(items) ? { items: { schema: [schemaMessage(items)] } } : {}),
    ...(isObject(additionalProperties)
      ? { additionalProperties: { schema: schemaMessage(additionalProperties) } }
      : {}),
    ...(children ? { properties: { additionalProperties: named(children, schemaMessage) } } : {}),
    vendorExtension: extensions(schema),
  };
}
