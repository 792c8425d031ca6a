import assert from 'node:assert/strict';
import type { TLSSocket } from 'node:tls';
import { test } from 'node:test';
import { readSubject } from '../../../lib/certificate-subject.ts';

const socket = (subject: object | undefined, authorized = true): TLSSocket =>
  ({ authorized, getPeerCertificate: () => (subject ? { subject } : {}) }) as unknown as TLSSocket;

test('readSubject() reads user, groups and Node, and takes what is not clear for nobody', () => {
  const cases: [Parameters<typeof socket>, ReturnType<typeof readSubject>][] = [
    [[{ CN: 'ann' }], { name: 'ann', groups: [] }],
    [[{ CN: 'ann', O: 'staff' }], { name: 'ann', groups: ['staff'] }],
    [[{ CN: 'ann', O: ['staff', 'admins'] }], { name: 'ann', groups: ['staff', 'admins'] }],
    [[{ CN: 'n1', O: 'system:nodes', UID: 'u1' }], { name: 'n1', groups: ['system:nodes'], nodeUid: 'u1' }],
    [[{ CN: 'n1', UID: ['u1', 'u2'] }], undefined],
    [[{ CN: ['ann', 'root'] }], undefined],
    [[{ CN: '' }], undefined],
    [[{ O: 'staff' }], undefined],
    [[undefined], undefined],
    [[{ CN: 'ann' }, false], undefined],
  ];
  for (const [given, expected] of cases) assert.deepEqual(readSubject(socket(...given)), expected);
});
