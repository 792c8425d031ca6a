import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { criSuite, type SecurityContext } from '../../support/cri-suite.ts';

const suite = criSuite();

async function outputOf(command: string, securityContext: SecurityContext): Promise<string> {
  const config = { command: ['sh', '-c', `${command} 2>&1`], linux: { securityContext } };
  return (await suite.runToEnd(config)).lines.join('\n');
}

/** 0 = no filter, 2 = a filter. */
const mode = (securityContext: SecurityContext): Promise<string> =>
  outputOf("grep Seccomp: /proc/self/status | sed 's/.*\t//'", securityContext);

function writeProfile(t: TestContext, syscalls: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-seccomp-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'profile.json');
  const rules = syscalls.length === 0 ? [] : [{ names: syscalls, action: 'SCMP_ACT_ERRNO' }];
  writeFileSync(file, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: rules }));
  return file;
}

suite.test('unconfined and no profile mean no filter; the default profile is one', async () => {
  assert.equal(await mode({ seccomp: { profileType: 'Unconfined' } }), '0');
  assert.equal(await mode({ seccomp: null }), '0');
  assert.equal(await mode({ seccomp: { profileType: 'RuntimeDefault' } }), '2');
});

suite.test('a profile of the host is applied by its path', async (t) => {
  const localhostRef = writeProfile(t, ['chmod', 'fchmodat', 'fchmodat2']);
  const seccomp = { profileType: 'Localhost', localhostRef } as const;
  assert.equal(await mode({ seccomp }), '2');
  assert.match(await outputOf('chmod 400 /etc/passwd', { seccomp }), /Operation not permitted/);
  for (const bad of ['relative.json', `${localhostRef}.none`]) {
    await assert.rejects(mode({ seccomp: { profileType: 'Localhost', localhostRef: bad } }), /seccomp profile/);
  }
});

suite.test(
  'the host name can be set with SYS_ADMIN unless the profile forbids it; privileged heeds no profile',
  async (t) => {
    const localhostRef = writeProfile(t, ['sethostname']);
    const setName = 'hostname changed && hostname';
    const capabilities = { addCapabilities: ['SYS_ADMIN'] };
    const forbidding = { profileType: 'Localhost', localhostRef } as const;
    assert.equal(await outputOf(setName, { capabilities, seccomp: { profileType: 'Unconfined' } }), 'changed');
    assert.match(await outputOf(setName, { capabilities, seccomp: forbidding }), /Operation not permitted/);
    assert.equal(await outputOf(setName, { privileged: true, seccomp: forbidding }), 'changed');
  },
);
