import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { parseKubeconfig, readKubeconfig } from '../../../client/kubeconfig.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

function config(user: object, cluster: object = {}, context: object = {}): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'here',
    clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:6443/', ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'here', context: { cluster: 'c', user: 'u', ...context } }],
  });
}

test('parseKubeconfig() reads embedded certificates and the namespace of the context', () => {
  const user = { 'client-certificate-data': base64('CERT'), 'client-key-data': base64('KEY') };
  const cluster = { 'certificate-authority-data': base64('CA'), 'tls-server-name': 'kubernetes' };
  assert.deepEqual(parseKubeconfig(config(user, cluster, { namespace: 'shop' }), 'x'), {
    server: 'https://127.0.0.1:6443',
    namespace: 'shop',
    ca: 'CA',
    cert: 'CERT',
    key: 'KEY',
    serverName: 'kubernetes',
  });
});

test('readKubeconfig() reads the files a kubeconfig refers to, from its own folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
  try {
    for (const name of ['ca', 'token']) writeFileSync(join(folder, name), `${name}\n`);
    writeFileSync(join(folder, 'config'), config({ tokenFile: 'token' }, { 'certificate-authority': 'ca' }));
    assert.deepEqual(readKubeconfig(join(folder, 'config')), {
      server: 'https://127.0.0.1:6443',
      namespace: 'default',
      ca: 'ca\n',
      token: 'token',
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('what is wrong with a kubeconfig is named, with the file', () => {
  const refused: [string, RegExp][] = [
    ['{', /invalid kubeconfig some\/file: /],
    ['', /invalid kubeconfig some\/file: /],
    ['current-context: other', /there is no context "other"/],
    [config({}, { server: 'ftp://x' }), /clusters\.0\.cluster\.server/],
    [config({}, {}, { cluster: 'gone' }), /there is no cluster "gone"/],
    [config({ exec: { command: 'aws' } }), /users\.user\.exec is not supported/],
    [config({ 'auth-provider': {} }), /users\.user\.auth-provider is not supported/],
    [config({ 'client-key': 'gone.key' }), /ENOENT.*gone\.key/],
  ];
  for (const [text, message] of refused) {
    assert.throws(() => parseKubeconfig(text, 'some/file'), { reason: 'BadRequest', message }, text);
  }
  assert.throws(() => readKubeconfig('/nowhere/config'), { reason: 'BadRequest', message: /\/nowhere\/config/ });
});
