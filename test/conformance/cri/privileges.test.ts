// What programs in a container find out about their rights; how the rights are set is in rights.test.ts.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxFiles } from '../../support/images.ts';
import { criSuite, type SecurityContext } from '../../support/cri-suite.ts';
import { requirePrograms } from '../../support/require.ts';

const suite = criSuite();

/** What a command writes, both streams in one. */
async function outputOf(command: string, securityContext: SecurityContext = {}): Promise<string> {
  const config = { command: ['sh', '-c', `${command} 2>&1`], linux: { securityContext } };
  return (await suite.runToEnd(config)).lines.join('\n');
}

suite.test('the root file system can be written to unless it is read-only', async () => {
  const write = 'echo found > /test; cat /test';
  assert.equal(await outputOf(write, { readonlyRootfs: false }), 'found');
  assert.match(await outputOf(write, { readonlyRootfs: true }), /Read-only file system/);
});

suite.test('capabilities are added and dropped by name, with or without CAP_', async () => {
  const addLink = 'brctl addbr probe && echo done';
  assert.equal(await outputOf(addLink, { capabilities: { addCapabilities: ['NET_ADMIN'] } }), 'done');
  const chown = 'touch /f; chown 5 /f && echo done';
  assert.match(await outputOf(chown, { capabilities: { dropCapabilities: ['CAP_CHOWN'] } }), /not permitted/);
  assert.equal(await outputOf(chown), 'done');
});

suite.test('masked paths cannot be read, read-only paths cannot be written', async () => {
  assert.match(await outputOf('ls /', { maskedPaths: ['/bin/ls'] }), /Permission denied/);
  assert.equal(await outputOf('ls /home | wc -l; cat /etc/passwd | wc -c', { maskedPaths: ['/etc/passwd'] }), '0\n0');
  assert.match(await outputOf('touch /tmp/x', { readonlyPaths: ['/tmp'] }), /Read-only file system/);
});

suite.test('no_new_privs keeps a setuid program from gaining rights', async (t) => {
  if (!requirePrograms(t, 'gcc')) return;
  const folder = mkdtempSync(join(tmpdir(), 'windlass-setuid-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const source = '#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf("%d\\n", geteuid()); return 0; }\n';
  writeFileSync(join(folder, 'euid.c'), source);
  execFileSync('gcc', ['-static', '-o', join(folder, 'euid'), join(folder, 'euid.c')]);
  const program = { name: 'bin/euid', content: readFileSync(join(folder, 'euid')), mode: 0o4755 };
  const image = await suite.shim.importImage([...busyboxFiles(), program], { Cmd: ['/bin/euid'] });
  const euid = async (noNewPrivs: boolean): Promise<string | undefined> => {
    const securityContext = { runAsUser: { value: 1000 }, noNewPrivs };
    return (await suite.runToEnd({ image: { image }, linux: { securityContext } })).lines[0];
  };
  assert.deepEqual([await euid(true), await euid(false)], ['1000', '0']);
});

suite.test(
  'setting the host name needs SYS_ADMIN and a profile that allows it; privileged heeds no profile',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'windlass-seccomp-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const localhostRef = join(folder, 'profile.json');
    const syscalls = [{ names: ['sethostname'], action: 'SCMP_ACT_ERRNO' }];
    writeFileSync(localhostRef, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }));
    const setName = 'hostname changed && hostname';
    const capabilities = { addCapabilities: ['SYS_ADMIN'] };
    const forbidding = { profileType: 'Localhost', localhostRef } as const;
    assert.equal(await outputOf(setName, { capabilities, seccomp: { profileType: 'Unconfined' } }), 'changed');
    assert.match(await outputOf(setName, { capabilities, seccomp: forbidding }), /Operation not permitted/);
    assert.equal(await outputOf(setName, { privileged: true, seccomp: forbidding }), 'changed');
    for (const bad of ['relative.json', join(folder, 'none.json')]) {
      const seccomp = { profileType: 'Localhost', localhostRef: bad } as const;
      await assert.rejects(outputOf(setName, { seccomp }), /seccomp profile/);
    }
  },
);
