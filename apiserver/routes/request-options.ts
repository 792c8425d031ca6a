// Query parameters shared by the verbs, parsed and checked.
import type { ReadOptions } from '../storage/resource-store.ts';
import { badRequest, invalid } from './api-errors.ts';
import type { FieldErrorType } from '../schema/field-error.ts';

export type FieldValidation = 'Ignore' | 'Warn' | 'Strict';

/** `Warn` unless said, as upstream. */
export function fieldValidationOf(query: URLSearchParams): FieldValidation {
  const value = query.get('fieldValidation') || 'Warn';
  if (value !== 'Ignore' && value !== 'Warn' && value !== 'Strict') {
    throw optionInvalid(
      'fieldValidation',
      value,
      'FieldValueNotSupported',
      'supported values: "Ignore", "Warn", "Strict"',
    );
  }
  return value;
}

/** True for dryRun=All; any other value is refused. */
export function isDryRun(values: readonly string[]): boolean {
  for (const value of values) {
    if (value !== 'All') throw optionInvalid('dryRun', value, 'FieldValueNotSupported', 'supported values: "All"');
  }
  return values.length > 0;
}

/** An Invalid about a query parameter, in the form upstream gives it. */
export function optionInvalid(field: string, value: unknown, type: FieldErrorType, detail: string): Error {
  return invalid({ group: 'meta.k8s.io', kind: 'Options' }, '', [{ type, field, value, detail }]);
}

/** A resourceVersion as a revision; undefined when absent. */
export function parseRevision(text: string | null): number | undefined {
  if (text === null || text === '') return undefined;
  if (!/^(0|[1-9]\d{0,15})$/.test(text)) {
    throw badRequest(`resourceVersion: Invalid value: ${JSON.stringify(text)}: must be a decimal number`);
  }
  return Number(text);
}

/** Freshness of a get or list. https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions */
export function readOptionsOf(query: URLSearchParams): ReadOptions & { limit: number; continueToken?: string } {
  const revision = parseRevision(query.get('resourceVersion'));
  const match = query.get('resourceVersionMatch') || undefined;
  const continueToken = query.get('continue') || undefined;
  const limit = Number(query.get('limit') || 0);
  if (!Number.isSafeInteger(limit) || limit < 0) throw badRequest(`invalid limit: ${query.get('limit')}`);
  const refuse = (detail: string): never => {
    throw optionInvalid('resourceVersionMatch', match, 'FieldValueForbidden', detail);
  };
  if (match !== undefined) {
    if (match !== 'Exact' && match !== 'NotOlderThan') {
      throw optionInvalid(
        'resourceVersionMatch',
        match,
        'FieldValueNotSupported',
        'supported values: "Exact", "NotOlderThan"',
      );
    }
    if (continueToken) refuse('resourceVersionMatch is forbidden when continue is provided');
    if (revision === undefined) refuse('resourceVersionMatch is forbidden unless resourceVersion is provided');
    if (match === 'Exact' && revision === 0) {
      refuse('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"');
    }
  }
  if (continueToken && revision !== undefined && revision !== 0) {
    throw badRequest('specifying resource version is not allowed when using continue');
  }
  return {
    limit,
    ...(continueToken === undefined ? {} : { continueToken }),
    ...(revision === undefined || continueToken ? {} : { revision }),
    // A limited list at a revision is exact when nothing else was said (the way upstream keeps old clients working).
    ...(match === undefined ? (limit > 0 && revision ? { match: 'Exact' as const } : {}) : { match }),
  };
}

/** `true` for "true" and "1", as Go's parser reads booleans. */
export function isTrue(value: string | null): boolean {
  return value === 'true' || value === '1' || value === 't' || value === 'True' || value === 'TRUE';
}

/** Without parameters, lower-case; JSON when the client said nothing, as some of kubectl's requests do. */
export function mediaTypeOf(header: string | readonly string[] | undefined): string {
  return (
    String(header ?? '')
      .split(';')[0]
      ?.trim()
      .toLowerCase() || 'application/json'
  );
}

/** The most, and the usual, time that a request may take. */
export const REQUEST_TIMEOUT_MS = 60_000;

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};
const DURATION_PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g;

/** `timeout=` of the request in Go's notation (`1m30s`; a bare number is seconds), at most and by default a minute. */
export function timeoutOf(query: URLSearchParams): number {
  const text = query.get('timeout');
  if (!text) return REQUEST_TIMEOUT_MS;
  const wholeSeconds = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : undefined;
  const parts = text.length > 64 ? [] : [...text.matchAll(DURATION_PART)];
  if (wholeSeconds === undefined && (parts.length === 0 || parts.map(([part]) => part).join('') !== text)) {
    throw badRequest(`invalid timeout specified in the request URL: ${JSON.stringify(text)}`);
  }
  const limitMs =
    wholeSeconds ?? parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNIT_MS[unit ?? ''] ?? 0), 0);
  return Math.min(limitMs || REQUEST_TIMEOUT_MS, REQUEST_TIMEOUT_MS);
}
