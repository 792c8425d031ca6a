// Namespaces shared with the host or kept apart. Pid namespaces of a whole sandbox and user namespaces have files of
// their own.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import type { Draft, NamespaceOption } from '../../../cri/messages.ts';
import { criSuite } from '../../support/cri-suite.ts';
import { requirePrograms } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const suite = criSuite();

async function runIn(options: Draft<NamespaceOption>, command = ['sleep', '1000']): Promise<string> {
  const namespaceOptions = { network: 'POD', pid: 'CONTAINER', ipc: 'POD', ...options } as const;
  const linux = { securityContext: { namespaceOptions } };
  return suite.runSleeper({ command, linux }, { linux });
}
const namespaceOf = (containerId: string, kind: string): Promise<string> =>
  suite.shim.exec(containerId, 'readlink', `/proc/self/ns/${kind}`);
const hostNamespace = (kind: string): string => readlinkSync(`/proc/self/ns/${kind}`);

suite.test('pid NODE shows the processes of the host, CONTAINER only its own', async () => {
  const host = await runIn({ pid: 'NODE' });
  assert.equal(await namespaceOf(host, 'pid'), hostNamespace('pid'));
  const comm = await suite.shim.exec(host, 'cat', `/proc/${process.pid}/comm`);
  assert.ok(comm.length > 0);
  const own = await runIn({ pid: 'CONTAINER' });
  assert.notEqual(await namespaceOf(own, 'pid'), hostNamespace('pid'));
  assert.equal(await suite.shim.exec(own, 'sh', '-c', 'cat /proc/1/comm'), 'sleep');
});

suite.test('a container with the pid namespace of the host is stopped with everything it started', async () => {
  // A time that no other process of the host sleeps.
  const program = `sleep 7654.${process.pid}`;
  const isThere = (): boolean => execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).includes(program);
  const containerId = await runIn({ pid: 'NODE' }, ['sh', '-c', `${program} & sleep 1000`]);
  await waitFor(isThere, { what: 'the second process' });
  await suite.shim.cri.runtime.stopContainer({ containerId, timeout: 0 });
  assert.equal(isThere(), false);
});

suite.test('ipc NODE sees shared memory of the host, POD does not', async (t) => {
  if (!requirePrograms(t, 'ipcmk', 'ipcrm')) return;
  const id = /(\d+)\s*$/.exec(execFileSync('ipcmk', ['-M', '1048576'], { encoding: 'utf8' }))?.[1] ?? '';
  t.after(() => execFileSync('ipcrm', ['-m', id]));
  const list = async (ipc: 'NODE' | 'POD'): Promise<string> =>
    suite.shim.exec(await runIn({ ipc }), 'sh', '-c', "awk '{print $2}' /proc/sysvipc/shm");
  assert.ok((await list('NODE')).split('\n').includes(id));
  assert.ok(!(await list('POD')).split('\n').includes(id));
});

suite.test('network NODE sees the ports of the host, POD does not', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const list = async (network: 'NODE' | 'POD'): Promise<string> =>
    suite.shim.exec(await runIn({ network }), 'netstat', '-ltn');
  assert.match(await list('NODE'), new RegExp(`127\\.0\\.0\\.1:${port}\\b`));
  assert.doesNotMatch(await list('POD'), new RegExp(`:${port}\\b`));
});

suite.test('the status of a sandbox echoes the modes that were asked for', async () => {
  const namespaceOptions = { network: 'NODE', pid: 'CONTAINER', ipc: 'NODE' } as const;
  const podSandboxId = await suite.shim.runSandbox('modes', { linux: { securityContext: { namespaceOptions } } });
  const { status } = await suite.shim.cri.runtime.podSandboxStatus({ podSandboxId });
  assert.deepEqual(status?.linux?.namespaces?.options, { ...namespaceOptions, targetId: '', usernsOptions: null });
});
