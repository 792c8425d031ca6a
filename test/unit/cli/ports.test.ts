import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { chooseEtcdPorts, isOwnAddress } from '../../../cli/ports.ts';
import { describeInstance } from '../../../lib/instance.ts';

test('chooseEtcdPorts() keeps its choice, and makes a new one when the file is cut short', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'windlass-ports-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const instance = describeInstance(home, join(home, 'run'));
  const file = join(home, 'etcd-ports.json');
  const first = await chooseEtcdPorts(instance);
  assert.deepEqual(await chooseEtcdPorts(instance), first);
  for (const broken of ['', '{"client":']) {
    writeFileSync(file, broken);
    const ports = await chooseEtcdPorts(instance);
    assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), ports);
  }
});

test('isOwnAddress() tells this machine from others', async () => {
  assert.deepEqual(
    await Promise.all(['127.0.0.1', 'localhost', '0.0.0.0', '192.0.2.1'].map((host) => isOwnAddress(host))),
    [true, true, true, false],
  );
});
