// Components killed at random moments while containers are made and deleted: nothing is lost, doubled or left over.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { describeInstance } from '../../../lib/instance.ts';
import { takeHostSnapshot } from '../../support/host-snapshot.ts';
import { startRealNode, type RealNode } from '../../support/real-node.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { waitFor } from '../../support/wait.ts';

const COUNT = 20;
const VICTIMS = ['node-agent', 'runtime-shim', 'apiserver', 'runtime-shim', 'node-agent'];
const names = Array.from({ length: COUNT }, (_, index) => `many-${index}`);

interface UpState {
  readonly components: readonly { name: string; state: string; process?: { pid: number } }[];
}
const readUp = (node: RealNode): UpState => JSON.parse(readFileSync(join(node.run, 'up.json'), 'utf8')) as UpState;

/** Kills each victim after a while, and waits until it is back before the next. */
async function killInTurn(node: RealNode): Promise<void> {
  for (const name of VICTIMS) {
    await pause(100 + Math.random() * 600);
    const victim = readUp(node).components.find((component) => component.name === name)?.process?.pid;
    assert.ok(victim, `${name} has no process`);
    process.kill(victim, 'SIGKILL');
    const isBack = (): boolean => {
      const component = readUp(node).components.find((one) => one.name === name);
      return component?.state === 'ready' && component.process?.pid !== victim;
    };
    await waitFor(isBack, { timeoutMs: 60_000, what: `${name} to come back` });
  }
}

/** Process ids of the conmons of the instance: one per container, whatever any record says. */
const monitors = (node: RealNode): number =>
  readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return program.endsWith('conmon') && args.some((arg) => arg.startsWith(`${node.run}/`));
    } catch {
      // It ended between being listed and being read.
      return false;
    }
  }).length;

test('20 containers are made once each, and gone without a trace, whoever is killed meanwhile', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'runc', 'conmon', 'kubectl')) return;
  await using node = await startRealNode({ sandboxPool: 0 });
  await node.make('warm', 'args: [sleep, "1000"]');
  await node.reach('warm', /^Running$/);
  await node.remove('warm');
  const before = takeHostSnapshot(describeInstance(node.home, node.run));
  await node.put(
    names
      .map(
        (name) => `
apiVersion: windlass.dev/v1
kind: Container
metadata: { name: ${name} }
spec: { image: busybox, args: [sh, -c, 'echo run >> /runs; exec sleep 1000'], terminationGracePeriodSeconds: 0 }`,
      )
      .join('\n---'),
  );
  await killInTurn(node);
  const running = async (): Promise<boolean> => {
    const { stdout } = await node.kubectl(['get', 'ctr', '-o', 'jsonpath={.items[*].status.phase}']);
    return stdout.split(' ').filter((phase) => phase === 'Running').length === COUNT;
  };
  await waitFor(running, { timeoutMs: 90_000, intervalMs: 500, what: 'all containers to run' });
  assert.equal(monitors(node), COUNT);
  assert.equal(readdirSync(join(node.run, 'shim', 'containers')).length, COUNT);
  assert.equal(readdirSync(join(node.run, 'shim', 'sandboxes')).length, COUNT);
  assert.equal(readdirSync(join(node.home, 'snapshots', 'containers')).length, COUNT);
  const addresses = await node.kubectlOk(['get', 'ctr', '-o', 'jsonpath={.items[*].status.networks[0].ipv4Address}']);
  assert.equal(new Set(addresses.split(' ')).size, COUNT);
  const deleted = node.kubectl(['delete', 'ctr', ...names, '--wait=false']);
  await killInTurn(node);
  await deleted;
  await node.kubectlOk(['delete', 'ctr', '--all', '--timeout=90s']);
  await waitFor(() => readdirSync(join(node.home, 'snapshots', 'containers')).length === 0, { timeoutMs: 40_000 });
  assert.equal(monitors(node), 0);
  assert.deepEqual(readdirSync(join(node.home, 'pods')), []);
  const after = takeHostSnapshot(describeInstance(node.home, node.run));
  const { processes: _, ...left } = after;
  const { processes: __, ...had } = before;
  assert.deepEqual(left, had);
});
