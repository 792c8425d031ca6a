import assert from 'node:assert/strict';
import test from 'node:test';
import { planCertificate, type CertificatePlan, type Observed } from '../../../../controllers/certificates/plan.ts';
import type { CertificateSigningRequest, Node } from '../../../../crds/builtin.ts';
import {
  JOIN_REQUEST_ANNOTATION,
  NODE_CLIENT_SIGNER,
  NODE_KEY_ANNOTATION,
  NODE_ROLE_GROUP,
  NODE_SERVING_SIGNER,
} from '../../../../crds/join.ts';
import type { ParsedRequest } from '../../../../lib/certificate-request.ts';

const CREATED = '2026-01-01T00:00:00Z';
const NOW = Date.parse(CREATED) + 1_000;
const HOUR_MS = 3_600_000;

const request = (more: Partial<ParsedRequest> = {}): ParsedRequest => ({
  ...{
    commonName: 'system:node:a',
    organizations: ['system:nodes'],
    dnsNames: [],
    otherNames: [],
    keyHash: 'sha256:k1',
  },
  ...more,
});

const csr = (spec: object = {}, status: CertificateSigningRequest['status'] = {}): CertificateSigningRequest => ({
  ...{ apiVersion: 'certificates.k8s.io/v1', kind: 'CertificateSigningRequest' },
  metadata: { name: 'csr', uid: 'u1', creationTimestamp: CREATED },
  spec: {
    ...{ request: '', signerName: NODE_CLIENT_SIGNER, usages: ['digital signature', 'client auth'] },
    ...{ username: 'system:bootstrap:abcdef', groups: ['system:bootstrappers', NODE_ROLE_GROUP] },
    ...spec,
  },
  status,
});

const node = (key?: string, joinedBy = 'another'): Node => ({
  ...{ apiVersion: 'v1', kind: 'Node' },
  metadata: {
    ...{ name: 'a', uid: 'n1' },
    annotations: key === undefined ? {} : { [NODE_KEY_ANNOTATION]: key, [JOIN_REQUEST_ANNOTATION]: joinedBy },
  },
});

const token = { id: 'abcdef', uses: 1 as number | undefined, usedBy: [], expiresAt: NOW + HOUR_MS };
const asNode = { username: 'system:node:a', groups: ['system:nodes'] };
const approved = { conditions: [{ type: 'Approved', status: 'True' as const }] };

const plan = (observed: Partial<Observed> = {}): CertificatePlan =>
  planCertificate({
    ...{ csr: csr(), request: request(), node: undefined, token, maxSeconds: 1_000, now: NOW },
    ...observed,
  });
const denial = (observed: Partial<Observed>): string => {
  const found = plan(observed);
  assert.equal(found.kind, 'deny', JSON.stringify(found));
  return `${(found as { reason: string }).reason}: ${(found as { message: string }).message}`;
};

test('a join claims the name, then spends a use, then is approved, then is signed for the UID of the Node', () => {
  const claim = plan();
  assert.deepEqual(claim, {
    ...{ kind: 'claim', nodeName: 'a' },
    annotations: { [NODE_KEY_ANNOTATION]: 'sha256:k1', [JOIN_REQUEST_ANNOTATION]: 'u1' },
  });
  const claimed = node('sha256:k1', 'u1');
  assert.deepEqual(plan({ node: claimed }), { kind: 'spend', use: { node: 'a', request: 'u1' } });
  const spent = { ...token, usedBy: [{ node: 'a', request: 'u1' }] };
  assert.equal(plan({ node: claimed, token: spent }).kind, 'approve');
  assert.deepEqual(plan({ node: claimed, token: spent, csr: csr({}, approved) }), {
    ...{ kind: 'sign', nodeName: 'a', nodeUid: 'n1', seconds: 1_000 },
  });
});

test('a token without a count of uses is not written to', () => {
  assert.equal(plan({ node: node('sha256:k1', 'u1'), token: { ...token, uses: undefined } }).kind, 'approve');
});

test('who loses a race for a name is denied and has not spent a use', () => {
  assert.match(denial({ node: node('sha256:other') }), /^Forbidden: the name "a" belongs to a node with another key/);
  assert.match(denial({ node: node() }), /^Forbidden: the name "a" belongs to/);
});

test('a node whose answer was lost gets another one for the same key, whatever is left of its token', () => {
  const spent = { ...token, usedBy: [{ node: 'a', request: 'u0' }] };
  assert.equal(plan({ node: node('sha256:k1', 'u0'), token: spent }).kind, 'approve');
});

test('a token that is used up, gone, expired or for something else is denied by that reason', () => {
  const spent = { ...token, usedBy: [{ node: 'b', request: 'u0' }] };
  assert.match(denial({ token: spent }), /^TokenUsedUp: .* it was for 1, and was used by b$/);
  assert.match(denial({ token: undefined }), /^TokenRevoked/);
  assert.match(denial({ token: { ...token, expiresAt: NOW } }), /^TokenExpired/);
  assert.match(
    denial({ csr: csr({ groups: ['system:bootstrappers'] }) }),
    /^WrongRole: the token abcdef is not for nodes/,
  );
});

test('a renewal needs the name, the Node and the key that the node joined with', () => {
  const asked = csr(asNode);
  assert.equal(plan({ csr: asked, node: node('sha256:k1') }).kind, 'approve');
  assert.match(denial({ csr: asked, node: node('sha256:other') }), /^Forbidden: the key is not the one/);
  assert.match(denial({ csr: asked }), /^Forbidden: there is no node "a" any more/);
  const another = csr({ ...asNode, username: 'system:node:b' });
  assert.match(denial({ csr: another, node: node('sha256:k1') }), /^Forbidden: system:node:b may not ask/);
});

test('a serving certificate is for the name of the node and nothing else', () => {
  const asked = csr({ ...asNode, signerName: NODE_SERVING_SIGNER, usages: ['digital signature', 'server auth'] });
  const [owner, serving] = [node('sha256:k1'), request({ dnsNames: ['a'] })];
  assert.equal(plan({ csr: asked, node: owner, request: serving }).kind, 'approve');
  for (const wrong of [
    request(),
    request({ dnsNames: ['a', 'b'] }),
    request({ dnsNames: ['b'] }),
    request({ dnsNames: ['a'], otherNames: ['10.0.0.1'] }),
  ]) {
    assert.match(denial({ csr: asked, node: owner, request: wrong }), /the name of the node, as a DNS name/);
  }
});

test('what is wrong with a request is said, before approval and after', () => {
  const wrong: [Partial<Observed>, RegExp][] = [
    [{ request: undefined }, /not signed with the key/],
    [{ request: request({ commonName: 'admin' }) }, /the common name must be system:node:/],
    ...['A B', 'a..b', 'a.-b', '10.0.0.1', ''].map((name): [Partial<Observed>, RegExp] => [
      { request: request({ commonName: `system:node:${name}` }) },
      /the common name must be/,
    ]),
    [
      { request: request({ organizations: ['system:nodes', 'system:masters'] }) },
      /the organization must be system:nodes/,
    ],
    [{ request: request({ dnsNames: ['a'] }) }, /no alternative names/],
    [{ csr: csr({ usages: ['client auth', 'server auth'] }) }, /the usages must be/],
    [{ csr: csr({ usages: ['digital signature'] }) }, /of which client auth is needed/],
  ];
  for (const [observed, says] of wrong) {
    assert.match(denial(observed), says);
    const later = { ...observed, csr: { ...(observed.csr ?? csr()), status: approved } };
    const failed = plan(later);
    assert.equal(failed.kind, 'fail');
    assert.match((failed as { message: string }).message, says);
  }
});

test('requests of others wait for a person, and are signed once one has approved them', () => {
  const asked = csr({ username: 'ann', groups: ['system:authenticated'] });
  assert.deepEqual(plan({ csr: asked }), { kind: 'wait', requeueAfterMs: 24 * HOUR_MS - 1_000 });
  assert.equal(plan({ csr: { ...asked, status: approved } }).kind, 'claim');
  assert.equal(plan({ csr: { ...asked, status: approved }, node: node('sha256:k1') }).kind, 'sign');
  assert.equal(plan({ csr: { ...asked, status: approved }, node: node('sha256:other') }).kind, 'fail');
  assert.equal(plan({ csr: csr({ signerName: 'example.com/mine' }) }).kind, 'wait');
});

test('a node that was deleted after its renewal was approved is not made anew', () => {
  const renewal = csr(asNode, approved);
  assert.equal(plan({ csr: renewal, node: node('sha256:k1') }).kind, 'sign');
  const failed = plan({ csr: renewal });
  assert.equal(failed.kind, 'fail');
  assert.match((failed as { message: string }).message, /there is no node "a" any more/);
});

test('a certificate lasts no longer than asked for, and no longer than allowed', () => {
  const seconds = (expirationSeconds: number): unknown => {
    const found = plan({ csr: csr({ expirationSeconds }, approved), node: node('sha256:k1') });
    return found.kind === 'sign' && found.seconds;
  };
  assert.deepEqual([seconds(600), seconds(5_000)], [600, 1_000]);
});

test('answered requests are kept for an hour, others for a day', () => {
  const denied = { conditions: [{ type: 'Denied', status: 'True' as const }] };
  const at = (ms: number): number => Date.parse(CREATED) + ms;
  assert.equal(plan({ csr: csr({}, denied), now: at(HOUR_MS - 1) }).kind, 'wait');
  assert.equal(plan({ csr: csr({}, denied), now: at(HOUR_MS) }).kind, 'remove');
  assert.equal(plan({ csr: csr({}, { certificate: 'x' }), now: at(HOUR_MS) }).kind, 'remove');
  assert.equal(plan({ now: at(24 * HOUR_MS) }).kind, 'remove');
});
