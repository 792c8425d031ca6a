import assert from 'node:assert/strict';
import test from 'node:test';
import { authenticateBootstrapToken } from '../../../../apiserver/auth/bootstrap-token.ts';
import { schemaOf } from '../../../../apiserver/resources/builtin/schemas.ts';
import { secretResource } from '../../../../apiserver/resources/builtin/config.ts';
import type { StoredObject } from '../../../../apiserver/resources/resource.ts';
import { BOOTSTRAP_TOKEN_TYPE } from '../../../../crds/join.ts';
import { systemClock } from '../../../../lib/clock.ts';

const resource = secretResource(schemaOf('', 'Secret'));
const context = { user: { name: 'admin', groups: [] }, dryRun: false, now: 0 };

/** The Secret of a token as it is stored. */
function secretOf(stringData: Record<string, string>, name = 'bootstrap-token-abcdef'): StoredObject {
  const object: StoredObject = {
    ...{ apiVersion: 'v1', kind: 'Secret', type: BOOTSTRAP_TOKEN_TYPE, stringData },
    metadata: { name, namespace: 'kube-system' },
  };
  resource.prepareForCreate?.(object, context);
  return object;
}

const GOOD = {
  'token-id': 'abcdef',
  'token-secret': '0123456789abcdef',
  'usage-bootstrap-authentication': 'true',
  'auth-extra-groups': 'system:bootstrappers:windlass:node,system:masters',
};
const problemsOf = (data: Record<string, string>, name?: string): string[] =>
  (resource.validate?.(secretOf(data, name), undefined, context) ?? []).map(({ field }) => field);

const authenticate = (stored: StoredObject | undefined, token: string) =>
  authenticateBootstrapToken(
    { store: { get: async () => stored && ({ object: stored } as never) }, clock: systemClock },
    token,
  );

test('a token is the user of its id, in the groups of bootstrap tokens and no others', async () => {
  assert.deepEqual(await authenticate(secretOf(GOOD), 'abcdef.0123456789abcdef'), {
    name: 'system:bootstrap:abcdef',
    groups: ['system:bootstrappers', 'system:bootstrappers:windlass:node', 'system:authenticated'],
  });
});

test('whoever does not know the whole token learns nothing; whoever does is told what is wrong', async () => {
  const unknown = /the token abcdef is not known/;
  await assert.rejects(authenticate(undefined, 'abcdef.0123456789abcdef'), unknown);
  const expired = secretOf({ ...GOOD, expiration: '2020-01-01T00:00:00Z' });
  await assert.rejects(authenticate(expired, 'abcdef.0123456789abcdeX'), /is no join token/);
  await assert.rejects(authenticate(expired, 'abcdef.0000000000000000'), unknown);
  await assert.rejects(authenticate(expired, 'abcdef.0123456789abcdef'), /expired at 2020-01-01T00:00:00Z/);
  const unusable = secretOf({ ...GOOD, 'usage-bootstrap-authentication': 'false' });
  await assert.rejects(authenticate(unusable, 'abcdef.0123456789abcdef'), /is not for authentication/);
  const other = { ...secretOf(GOOD), type: 'Opaque' };
  await assert.rejects(authenticate(other, 'abcdef.0123456789abcdef'), unknown);
});

test('the secret half is stored as a hash, and nowhere else', () => {
  const stored = secretOf(GOOD);
  assert.deepEqual(Object.keys(stored['data'] as object).toSorted(), [
    ...['auth-extra-groups', 'token-id', 'token-secret-sha256', 'usage-bootstrap-authentication'],
  ]);
  assert.doesNotMatch(JSON.stringify(stored), /0123456789abcdef|MDEyMzQ1Njc4OWFiY2RlZg/);
});

test('a Secret that is no token is refused by the field', () => {
  assert.deepEqual(problemsOf(GOOD), []);
  assert.deepEqual(problemsOf({ ...GOOD, 'token-id': 'ABCDEF' }), ['data[token-id]']);
  assert.deepEqual(problemsOf(GOOD, 'bootstrap-token-other1'), ['metadata.name']);
  assert.deepEqual(problemsOf({ ...GOOD, 'token-secret': 'short' }), ['data[token-secret]']);
  assert.deepEqual(problemsOf({ 'token-id': 'abcdef' }), ['data[token-secret]']);
  assert.deepEqual(problemsOf({ ...GOOD, expiration: 'tomorrow' }), ['data[expiration]']);
  assert.deepEqual(problemsOf({ ...GOOD, uses: '0' }), ['data[uses]']);
});
