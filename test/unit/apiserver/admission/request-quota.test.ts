import assert from 'node:assert/strict';
import test from 'node:test';
import { checkRequestQuota, REQUEST_LIMITS } from '../../../../apiserver/admission/request-quota.ts';
import type { StoredObject } from '../../../../apiserver/resources/resource.ts';
import type { ResourceStore } from '../../../../apiserver/storage/resource-store.ts';

const NOW = 1_000_000_000;

const makeRequest = (id: string, agoMs: number, status: object = {}): StoredObject => ({
  apiVersion: 'certificates.k8s.io/v1',
  kind: 'CertificateSigningRequest',
  metadata: { name: 'r', creationTimestamp: new Date(NOW - agoMs).toISOString() },
  spec: { username: `system:bootstrap:${id}` },
  status,
});
const many = (count: number, ...args: Parameters<typeof makeRequest>): StoredObject[] =>
  Array.from({ length: count }, () => makeRequest(...args));

const TOKEN = { name: 'system:bootstrap:tokena', groups: ['system:bootstrappers'] };

/** What is said to who asks by token `tokena`, or as another user. */
async function ask(
  stored: readonly StoredObject[],
  object: StoredObject = makeRequest('tokena', 0),
  user = TOKEN,
): Promise<string> {
  const store = { list: async () => ({ entries: stored.map((one) => ({ object: one })), revision: 1 }) };
  const context = { user, dryRun: false, now: NOW };
  return checkRequestQuota(store as unknown as Pick<ResourceStore, 'list'>, object, context).then(
    () => 'may',
    (error: Error) => error.message,
  );
}

test('checkRequestQuota() lets a token ask so often within a time, so much at once, and so much in all', async () => {
  const { recent, pending, perUser, ofTokens } = REQUEST_LIMITS;
  const answered = { conditions: [{ type: 'Denied' }] };
  assert.equal(await ask([]), 'may');
  assert.equal(await ask(many(recent - 1, 'tokena', 9_000)), 'may');
  assert.match(await ask(many(recent, 'tokena', 9_000)), /the token tokena has made 50 within 10 s: try again/);
  assert.match(await ask(many(pending, 'tokena', 60_000)), /100 of the token tokena are not answered yet/);
  assert.equal(await ask(many(pending, 'tokena', 60_000, answered)), 'may');
  assert.equal(await ask(many(perUser, 'tokenb', 60_000)), 'may');
  assert.match(
    await ask(many(perUser, 'tokena', 60_000, answered)),
    /use another token, or wait until they are removed/,
  );
  assert.match(
    await ask(many(ofTokens, 'tokenb', 60_000, answered)),
    /5000 of all tokens are stored: revoke the token/,
  );
});

test('checkRequestQuota() refuses a request that carries more than a request', async () => {
  const large = makeRequest('tokena', 0);
  large.metadata.annotations = { note: 'x'.repeat(REQUEST_LIMITS.bytes) };
  assert.match(await ask([], large), /the request for a certificate is larger than 16384 bytes/);
});

test('checkRequestQuota() holds a node to the same counts, and lets it renew whatever tokens ask for', async () => {
  const { recent, perUser, ofTokens } = REQUEST_LIMITS;
  const node = { name: 'system:node:n1', groups: ['system:nodes'] };
  const askAsNode = (stored: readonly StoredObject[]): Promise<string> => ask(stored, makeRequest('x', 0), node);
  const own = (count: number, agoMs: number): StoredObject[] =>
    many(count, '', agoMs, { certificate: 'c' }).map((one) => ({ ...one, spec: { username: node.name } }));
  assert.equal(await askAsNode(own(recent - 1, 9_000)), 'may');
  assert.match(await askAsNode(own(recent, 9_000)), /the node n1 has made 50 within 10 s: try again/);
  assert.match(await askAsNode(own(perUser, 60_000)), /1000 of the node n1 are stored/);
  assert.equal(await askAsNode(many(ofTokens, 'tokenb', 60_000)), 'may');
});
