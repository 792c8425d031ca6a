// ConfigMap, Secret and ServiceAccount: data that others refer to.
import type { FieldError } from '../../schema/field-error.ts';
import type { StructuralSchema } from '../../schema/structural.ts';
import type { Resource, StoredObject } from '../resource.ts';
import { isDeepStrictEqual } from 'node:util';
import { BOOTSTRAP_TOKEN_TYPE, TOKEN_HASH_KEY, tokenSecretName } from '../../../crds/join.ts';
import { hashTokenSecret } from '../../auth/bootstrap-token.ts';
import { defineBuiltin } from './define.ts';

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
const MAX_DATA_BYTES = 1024 * 1024;
const DATA_KEY = /^[-._a-zA-Z0-9]{1,253}$/;

type Data = Record<string, string> | undefined;

/** v1 ConfigMap. */
export function configMapResource(schema: StructuralSchema): Resource {
  return defineBuiltin({
    group: '',
    version: 'v1',
    kind: 'ConfigMap',
    plural: 'configmaps',
    shortNames: ['cm'],
    namespaced: true,
    schema,
    validate(object, old) {
      const data = (object['data'] as Data) ?? {};
      const binary = (object['binaryData'] as Data) ?? {};
      const errors = [...validateKeys('data', data), ...validateKeys('binaryData', binary)];
      errors.push(...validateBase64('binaryData', binary));
      for (const key of Object.keys(binary)) {
        if (Object.hasOwn(data, key)) {
          errors.push({
            type: 'FieldValueInvalid',
            field: `data[${key}]`,
            value: key,
            detail: 'duplicate of key present in binaryData',
          });
        }
      }
      errors.push(...validateSize('', [...Object.values(data), ...Object.values(binary)]));
      return [...errors, ...validateImmutable(object, old, ['data', 'binaryData'])];
    },
  });
}

/** v1 Secret; `stringData` is folded into `data`. */
export function secretResource(schema: StructuralSchema): Resource {
  return defineBuiltin({
    group: '',
    version: 'v1',
    kind: 'Secret',
    plural: 'secrets',
    namespaced: true,
    schema,
    selectableFieldNames: ['type'],
    selectableFields: (object) => ({ type: (object['type'] as string | undefined) ?? '' }),
    prepareForCreate: prepareSecret,
    prepareForUpdate(object, old) {
      prepareSecret(object);
      object['type'] ??= old['type'];
    },
    validate(object, old) {
      const data = (object['data'] as Data) ?? {};
      const errors = [
        ...validateKeys('data', data),
        ...validateBase64('data', data),
        ...validateSize('data', Object.values(data)),
      ];
      errors.push(...validateSecretType(String(object['type']), data));
      if (object['type'] === BOOTSTRAP_TOKEN_TYPE) errors.push(...validateBootstrapToken(object.metadata, data));
      if (old && old['type'] !== object['type']) {
        errors.push({ type: 'FieldValueInvalid', field: 'type', value: object['type'], detail: 'field is immutable' });
      }
      return [...errors, ...validateImmutable(object, old, ['data'])];
    },
  });
}

/** v1 ServiceAccount. */
export function serviceAccountResource(schema: StructuralSchema): Resource {
  return defineBuiltin({
    group: '',
    version: 'v1',
    kind: 'ServiceAccount',
    plural: 'serviceaccounts',
    shortNames: ['sa'],
    namespaced: true,
    schema,
  });
}

function prepareSecret(object: StoredObject): void {
  object['type'] ??= 'Opaque';
  const plain = object['stringData'] as Data;
  if (plain) {
    const encoded = Object.entries(plain).map(([key, value]) => [key, Buffer.from(String(value)).toString('base64')]);
    object['data'] = { ...(object['data'] as Data), ...Object.fromEntries(encoded) };
  }
  delete object['stringData'];
  if (object['type'] === BOOTSTRAP_TOKEN_TYPE) hideTokenSecret(object);
}

// Who reads the store, or a backup of it, must not be able to join.
function hideTokenSecret(object: StoredObject): void {
  const { 'token-secret': secret, ...data } = (object['data'] as Data) ?? {};
  if (secret === undefined) return;
  const plain = Buffer.from(secret, 'base64').toString('utf8');
  // One that could never be shown as a token is left for validation to refuse.
  if (!/^[a-z0-9]{16}$/.test(plain)) return;
  object['data'] = { ...data, [TOKEN_HASH_KEY]: Buffer.from(hashTokenSecret(plain)).toString('base64') };
  // kubectl apply keeps there what it was given.
  const { [LAST_APPLIED]: applied, ...annotations } = object.metadata.annotations ?? {};
  if (applied !== undefined) object.metadata.annotations = annotations;
}

function validateKeys(field: string, data: Record<string, string>): FieldError[] {
  return Object.keys(data)
    .filter((key) => !DATA_KEY.test(key) || key === '.' || key.startsWith('..'))
    .map((key) => ({
      type: 'FieldValueInvalid',
      field: `${field}[${key}]`,
      value: key,
      detail:
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
    }));
}

function validateBase64(field: string, data: Record<string, string>): FieldError[] {
  return Object.entries(data)
    .filter(([, value]) => typeof value !== 'string' || !isBase64(value))
    .map(([key]) => ({
      type: 'FieldValueInvalid',
      field: `${field}[${key}]`,
      value: '<not shown>',
      detail: 'must be base64',
    }));
}

const isBase64 = (text: string): boolean => text.length % 4 === 0 && /^[A-Za-z0-9+/\s]*={0,2}$/.test(text);

function validateSize(field: string, values: readonly string[]): FieldError[] {
  const bytes = values.reduce((sum, value) => sum + Buffer.byteLength(String(value)), 0);
  if (bytes <= MAX_DATA_BYTES) return [];
  return [{ type: 'FieldValueTooLong', field, detail: `may not be more than ${MAX_DATA_BYTES} bytes` }];
}

const REQUIRED_KEYS: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
};

function validateSecretType(type: string, data: Record<string, string>): FieldError[] {
  return (REQUIRED_KEYS[type] ?? [])
    .filter((key) => !Object.hasOwn(data, key))
    .map((key) => ({ type: 'FieldValueRequired', field: `data[${key}]`, detail: '' }));
}

function validateBootstrapToken(metadata: StoredObject['metadata'], data: Record<string, string>): FieldError[] {
  const errors: FieldError[] = [];
  const text = (key: string): string => Buffer.from(data[key] ?? '', 'base64').toString('utf8');
  const bad = (key: string, value: string, detail: string): void =>
    void errors.push({ type: 'FieldValueInvalid', field: `data[${key}]`, value, detail });
  const id = text('token-id');
  if (!/^[a-z0-9]{6}$/.test(id)) bad('token-id', id, 'must be six of a-z and 0-9');
  else if (metadata.name !== tokenSecretName(id)) {
    const detail = `must be bootstrap-token-${id}, as token-id says`;
    errors.push({ type: 'FieldValueInvalid', field: 'metadata.name', value: metadata.name, detail });
  }
  if (Object.hasOwn(data, 'token-secret')) bad('token-secret', '<not shown>', 'must be sixteen of a-z and 0-9');
  else if (!/^[0-9a-f]{64}$/.test(text(TOKEN_HASH_KEY))) {
    errors.push({ type: 'FieldValueRequired', field: 'data[token-secret]', detail: '' });
  }
  const expiration = text('expiration');
  if (Object.hasOwn(data, 'expiration') && Number.isNaN(Date.parse(expiration))) {
    bad('expiration', expiration, 'must be a time such as 2026-01-31T12:00:00Z');
  }
  if (Object.hasOwn(data, 'uses') && !/^[1-9][0-9]{0,5}$/.test(text('uses'))) {
    bad('uses', text('uses'), 'must be a number from 1 to 999999');
  }
  return errors;
}

function validateImmutable(
  object: StoredObject,
  old: StoredObject | undefined,
  fields: readonly string[],
): FieldError[] {
  if (old?.['immutable'] !== true) return [];
  const detail = 'field is immutable when `immutable` is set';
  const errors: FieldError[] = [];
  if (object['immutable'] !== true) errors.push({ type: 'FieldValueForbidden', field: 'immutable', detail });
  for (const field of fields) {
    if (!isDeepStrictEqual(object[field], old[field])) errors.push({ type: 'FieldValueForbidden', field, detail });
  }
  return errors;
}
