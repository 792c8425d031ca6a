// certificates.k8s.io/v1 CertificateSigningRequest: who asks is written by the server and nothing of it changes later;
// approval, and what the signer says, come by subresources of their own.
// https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
import { rfc3339 } from '../../../lib/clock.ts';
import { parseCertificateRequest } from '../../../lib/certificate-request.ts';
import { messageOf } from '../../../lib/errors.ts';
import type { FieldError } from '../../schema/field-error.ts';
import type { StructuralSchema } from '../../schema/structural.ts';
import type { Resource, StoredObject } from '../resource.ts';
import { defineBuiltin } from './define.ts';

interface Condition {
  type: string;
  status?: string;
  lastUpdateTime?: string;
  lastTransitionTime?: string;
}

interface SigningRequest extends StoredObject {
  spec?: { request?: string; signerName?: string; usages?: string[]; expirationSeconds?: number; username?: string };
  status?: { conditions?: Condition[]; certificate?: string };
}

/** Set by /approval alone; what else there is comes by /status. */
const APPROVAL_TYPES: ReadonlySet<string> = new Set(['Approved', 'Denied']);
const FINAL_TYPES: ReadonlySet<string> = new Set(['Approved', 'Denied', 'Failed']);
const MIN_SECONDS = 600;

/** The resource. */
export function certificateSigningRequestResource(schema: StructuralSchema): Resource {
  return defineBuiltin({
    group: 'certificates.k8s.io',
    version: 'v1',
    kind: 'CertificateSigningRequest',
    plural: 'certificatesigningrequests',
    shortNames: ['csr'],
    namespaced: false,
    status: true,
    schema,
    subresources: [{ name: 'approval', kind: 'CertificateSigningRequest', verbs: ['get', 'patch', 'update'] }],
    selectableFieldNames: ['spec.signerName'],
    selectableFields: (object) => ({ 'spec.signerName': (object as SigningRequest).spec?.signerName ?? '' }),
    prepareForCreate(object, { user }) {
      const request = object as SigningRequest;
      const { name: username, groups, uid, extra } = user;
      const said: Record<string, unknown> = { ...request.spec, username, groups: [...groups] };
      for (const [field, value] of Object.entries({ uid, extra })) {
        if (value === undefined) delete said[field];
        else said[field] = value;
      }
      request.spec = said;
    },
    prepareForUpdate(object, old, { subresource, now }) {
      const request = object as SigningRequest;
      const before = old as SigningRequest;
      if (before.spec) request.spec = before.spec;
      if (subresource !== 'status' && subresource !== 'approval') return;
      const isMine = ({ type }: Condition): boolean => APPROVAL_TYPES.has(type) === (subresource === 'approval');
      const given = (request.status?.conditions ?? []).filter(isMine);
      const kept = (before.status?.conditions ?? []).filter((condition) => !isMine(condition));
      const certificate = subresource === 'status' ? request.status?.certificate : before.status?.certificate;
      request.status = {
        conditions: [...kept, ...given].map((condition) => stamp(condition, before.status?.conditions, now)),
        ...(certificate ? { certificate } : {}),
      };
    },
    validate: (object, old) => [
      ...(old ? [] : validateSpec(object as SigningRequest)),
      ...validateStatus(object as SigningRequest, old as SigningRequest | undefined),
    ],
  });
}

function stamp(condition: Condition, before: readonly Condition[] | undefined, now: number): Condition {
  const old = before?.find(({ type }) => type === condition.type);
  const time = rfc3339(now);
  return {
    ...condition,
    status: condition.status ?? 'True',
    lastUpdateTime: condition.lastUpdateTime ?? time,
    lastTransitionTime: old?.lastTransitionTime ?? condition.lastTransitionTime ?? time,
  };
}

function validateSpec({ spec }: SigningRequest): FieldError[] {
  const errors: FieldError[] = [];
  const bad = (field: string, value: unknown, detail: string): void =>
    void errors.push({ type: 'FieldValueInvalid', field: `spec.${field}`, value, detail });
  try {
    parseCertificateRequest(Buffer.from(spec?.request ?? '', 'base64').toString('utf8'));
  } catch (error) {
    bad('request', '<bytes>', messageOf(error));
  }
  if (!/^[a-z0-9.-]+\/[A-Za-z0-9./_-]+$/.test(spec?.signerName ?? '')) {
    bad(
      'signerName',
      spec?.signerName,
      'must be a fully qualified domain and path, e.g. kubernetes.io/kubelet-serving',
    );
  }
  if ((spec?.usages ?? []).length === 0) errors.push({ type: 'FieldValueRequired', field: 'spec.usages', detail: '' });
  const seconds = spec?.expirationSeconds;
  if (seconds !== undefined && seconds !== null && seconds < MIN_SECONDS) {
    bad('expirationSeconds', seconds, `may not specify a duration less than ${MIN_SECONDS} seconds (10 minutes)`);
  }
  return errors;
}

function validateStatus({ status }: SigningRequest, old: SigningRequest | undefined): FieldError[] {
  const field = 'status.conditions';
  const types = (status?.conditions ?? []).map(({ type }) => type);
  const errors: FieldError[] = [];
  const refuse = (value: unknown, detail: string): void =>
    void errors.push({ type: 'FieldValueInvalid', field, value, detail });
  if (types.includes('Approved') && types.includes('Denied')) {
    refuse(types, 'Approved and Denied conditions are mutually exclusive');
  }
  for (const { type } of old?.status?.conditions ?? []) {
    if (FINAL_TYPES.has(type) && !types.includes(type)) refuse(types, `a condition of type ${type} may not be removed`);
  }
  for (const condition of status?.conditions ?? []) {
    if (FINAL_TYPES.has(condition.type) && condition.status !== 'True') refuse(condition.status, 'must be True');
  }
  if (old?.status?.certificate && old.status.certificate !== status?.certificate) {
    errors.push({ type: 'FieldValueForbidden', field: 'status.certificate', detail: 'may not be changed once set' });
  }
  return errors;
}
