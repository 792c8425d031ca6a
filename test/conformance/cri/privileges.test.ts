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

suite.test('privileged has what others have not: network administration, mounts, host devices', async () => {
  const command = 'brctl addbr probe && mount -t tmpfs none /home && ls /dev/kmsg';
  assert.equal(await outputOf(command, { privileged: true }), '/dev/kmsg');
  assert.match(await outputOf('brctl addbr probe', { privileged: false }), /Operation not permitted/);
  assert.match(await outputOf('ls /dev/kmsg', { privileged: false }), /No such file/);
});

suite.test('capabilities are added and dropped by name, with or without CAP_', async () => {
  const addLink = 'brctl addbr probe && echo done';
  assert.equal(await outputOf(addLink, { capabilities: { addCapabilities: ['NET_ADMIN'] } }), 'done');
  const chown = 'touch /f; chown 5 /f && echo done';
  assert.match(await outputOf(chown, { capabilities: { dropCapabilities: ['CAP_CHOWN'] } }), /not permitted/);
  assert.equal(await outputOf(chown), 'done');
});

suite.test('ALL adds everything the runtime has, or drops everything', async () => {
  const effective = async (securityContext: SecurityContext): Promise<bigint> =>
    BigInt(`0x${await outputOf("grep CapEff /proc/self/status | sed 's/.*\t//'", securityContext)}`);
  const own = BigInt(`0x${/CapEff:\s*(\S+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
  assert.equal(await effective({ capabilities: { addCapabilities: ['ALL'] } }), own);
  assert.equal(await effective({ capabilities: { dropCapabilities: ['ALL'] } }), 0n);
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
