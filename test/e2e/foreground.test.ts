// `windlass up` in the foreground: on a terminal (made by script(1)) and with its output in a pipe; stopped by
// Ctrl+C or a hangup.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { describeInstance } from '../../lib/instance.ts';
import { importBusybox } from '../support/busybox.ts';
import { takeHostSnapshot } from '../support/host-snapshot.ts';
import { createInstance, type TestInstance } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

const program = fileURLToPath(new URL('../../bin/windlass', import.meta.url));
const NAMES = ['etcd', 'apiserver', 'runtime-shim', 'controllers', 'node-agent'];

interface Foreground {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
}

/** Starts `up`; with a terminal as its stdin, stdout and stderr when `terminal` is set. */
function startUp(instance: TestInstance, { terminal }: { terminal: boolean }): Foreground {
  const command = [program, 'up', '--listen', instance.listen, ...instance.flags];
  // script(1) runs its command through a shell. Without `exec` a shell that stays between (dash does) gets the Ctrl+C
  // too, dies of it, and its 130 hides how `up` ended.
  const [file = '', ...args] = terminal ? ['script', '-qec', `exec ${command.join(' ')}`, '/dev/null'] : command;
  const child = spawn(file, args, {
    env: { ...instance.env, TERM: 'xterm', SHELL: '/bin/sh' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  return { child, output: () => output, ended };
}

test('windlass up in the foreground', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl', 'script')) return;
  const instance = await createInstance({ sandboxPool: 0 });
  t.after(() => instance[Symbol.asyncDispose]());
  const identity = describeInstance(instance.home, instance.run);
  const started = async (up: Foreground): Promise<void> => {
    await waitFor(() => /Ready after/.test(up.output()), { what: 'readiness', timeoutMs: 60_000 });
  };
  const containerOf = (): Promise<string> =>
    instance.kubectlOk(['get', 'ctr', 'stays', '-o', 'jsonpath={.status.containerID} {.status.restartCount}']);
  let container = '';

  await t.test('in a pipe it prints one plain line per component, then what to do next; SIGHUP stops it', async () => {
    const up = startUp(instance, { terminal: false });
    await started(up);
    for (const name of NAMES) assert.equal(up.output().split(`✔ ${name} `).length, 2, up.output());
    assert.ok(!up.output().includes('\u001b') && !up.output().includes('\r'));
    assert.ok(up.output().lastIndexOf('✔') < up.output().indexOf('Ready after'));
    await importBusybox(instance);
    await instance.apply(
      `{ apiVersion: windlass.dev/v1, kind: Container, metadata: { name: stays }, spec: { imageName: busybox, command: [sleep, "1000000"] } }`,
    );
    await instance.kubectlOk(['wait', '--for=condition=Ready', 'ctr/stays', '--timeout=30s']);
    container = await containerOf();
    up.child.kill('SIGHUP');
    assert.equal(await up.ended, 0, up.output());
    assert.match(up.output(), /stopped; containers keep running/);
    assert.equal(existsSync(join(instance.run, 'up.json')), false);
    // What is left of the instance belongs to the container: its monitor and its namespaces.
    const left = takeHostSnapshot(identity);
    assert.ok(
      left.processes.every((command) => command.includes('conmon')),
      left.processes.join('\n'),
    );
    assert.equal(left.networkNamespaces.length, 1);
  });

  await t.test('on a terminal it rewrites its last line in place; Ctrl+C stops it, the container stays', async () => {
    const up = startUp(instance, { terminal: true });
    await started(up);
    assert.ok(up.output().includes('\u001b[2K'), JSON.stringify(up.output()));
    assert.equal(await containerOf(), container);
    up.child.stdin?.write('\u0003');
    assert.equal(await up.ended, 0, up.output());
    assert.match(up.output(), /stopped; containers keep running/);
    assert.equal(takeHostSnapshot(identity).networkNamespaces.length, 1);
  });
});
