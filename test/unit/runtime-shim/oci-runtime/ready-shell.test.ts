import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { identifyProcess } from '../../../../lib/process-identity.ts';
import { createSpawner, type Spawner } from '../../../../runtime-shim/host/spawn.ts';
import { createReadyShell, scriptOf, type ShellTask } from '../../../../runtime-shim/oci-runtime/ready-shell.ts';
import { waitFor } from '../../../support/wait.ts';

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'windlass-shell-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A spawner that remembers the pids it started. */
function makeSpawner(): Spawner & { readonly pids: number[] } {
  const [inner, pids] = [createSpawner(), [] as number[]];
  return {
    pids,
    spawnProcess(options) {
      const child = inner.spawnProcess(options);
      pids.push(child.pid);
      return child;
    },
  };
}

const makeTask = (cwd: string, argv: readonly string[], changes: Partial<ShellTask> = {}): ShellTask => ({
  ...{ entrances: [], argv, env: {}, cwd },
  ...changes,
});

/** The shell's program, as soon as one is ready. */
const startWhenReady = (shell: ReturnType<typeof createReadyShell>, task: ShellTask) =>
  waitFor(() => shell.start(task), { what: 'a ready shell', intervalMs: 60 });

test('start() has nothing ready at first, then becomes the program with its environment, folder and groups', async (t) => {
  const folder = makeFolder(t);
  using shell = createReadyShell(makeSpawner());
  const entrance = join(folder, "an entrance'");
  const argv = ['/bin/sh', '-c', 'echo "$A|$1"; pwd; ls /proc/$$/fd; echo oops >&2; exit 7', 'sh', `it's "$A" \\ *`];
  const task = makeTask(folder, argv, { entrances: [entrance], env: { A: `a'b\nc` } });
  assert.equal(shell.start(task), undefined);
  const child = await startWhenReady(shell, task);
  const [stdout, stderr, exit] = await Promise.all([text(child.stdout), text(child.stderr), child.exited]);
  assert.deepEqual(stdout.split('\n'), ["a'b", `c|it's "$A" \\ *`, folder, '0', '1', '2', '']);
  assert.deepEqual([stderr, exit.code], ['oops\n', 7]);
  assert.equal(readFileSync(entrance, 'utf8'), '0\n');
});

test('start() ends with 125 when a group cannot be entered, and runs nothing', async (t) => {
  const folder = makeFolder(t);
  using shell = createReadyShell(makeSpawner());
  const task = makeTask(folder, ['/bin/echo', 'ran'], { entrances: [join(folder, 'no', 'such')] });
  shell.start(task);
  const child = await startWhenReady(shell, task);
  child.stderr.resume();
  assert.deepEqual([await text(child.stdout), (await child.exited).code], ['', 125]);
});

test('the program starts after what is prepared for it, and not at all when that fails', async (t) => {
  const folder = makeFolder(t);
  const spawner = makeSpawner();
  using shell = createReadyShell(spawner);
  const file = join(folder, 'prepared');
  const task = makeTask(folder, ['/bin/cat', file], { prepare: () => writeFileSync(file, 'before') });
  assert.equal(shell.start(task), undefined);
  assert.ok(existsSync(file));
  rmSync(file);
  const child = await startWhenReady(shell, task);
  child.stderr.resume();
  assert.deepEqual([await text(child.stdout), (await child.exited).code], ['before', 0]);
  let pid = 0;
  const fail = (): never => {
    pid = spawner.pids.at(-1) ?? 0;
    throw new Error('disk full');
  };
  const refused = makeTask(folder, ['/bin/rm', file], { prepare: fail });
  await assert.rejects(async () => startWhenReady(shell, refused), /disk full/);
  await waitFor(() => identifyProcess(pid) === undefined, { what: 'the end of the shell' });
  assert.equal(readFileSync(file, 'utf8'), 'before');
});

test('start() does not use a shell that was killed', async (t) => {
  const folder = makeFolder(t);
  const spawner = makeSpawner();
  using shell = createReadyShell(spawner);
  const task = makeTask(folder, ['/bin/true']);
  shell.start(task);
  const pid = await waitFor(() => spawner.pids[0], { what: 'a shell' });
  process.kill(pid, 'SIGKILL');
  while (identifyProcess(pid)) continue;
  // Its end has not been noticed yet: it is not handed out all the same, and another takes its place.
  assert.equal(shell.start(task), undefined);
  const child = await startWhenReady(shell, task);
  assert.notEqual(child.pid, pid);
  child.stdout.resume();
  child.stderr.resume();
  assert.equal((await child.exited).code, 0);
});

test('disposed, it ends the shell and makes no other', async (t) => {
  const folder = makeFolder(t);
  const spawner = makeSpawner();
  const shell = createReadyShell(spawner);
  const task = makeTask(folder, ['/bin/true']);
  shell.start(task);
  const pid = await waitFor(() => spawner.pids[0], { what: 'a shell' });
  shell[Symbol.dispose]();
  await waitFor(() => identifyProcess(pid) === undefined, { what: 'its end' });
  assert.equal(shell.start(task), undefined);
  assert.equal(spawner.pids.length, 1);
});

test('scriptOf() has one command a line and closes its own descriptor for the program', () => {
  const task = { entrances: ['/g/tasks'], argv: ['/bin/a b', "it's"], env: { K: 'v' }, cwd: '/c' };
  const { approach, become } = scriptOf(task);
  assert.deepEqual(approach.toString().split('\n'), [
    ...["cd '/c' || exit 125", "echo 0 >'/g/tasks' || exit 125", "export K='v'", ''],
  ]);
  assert.equal(become.toString(), "exec '/bin/a b' 'it'\\''s' 3<&-\n");
});

test('a shell ends with the process that keeps it, however that ends', async () => {
  const url = (path: string): string => new URL(`../../../../runtime-shim/${path}`, import.meta.url).href;
  const code = `
    const { createReadyShell } = await import(${JSON.stringify(url('oci-runtime/ready-shell.ts'))});
    const { createSpawner } = await import(${JSON.stringify(url('host/spawn.ts'))});
    const inner = createSpawner();
    const spawnProcess = (options) => {
      const child = inner.spawnProcess(options);
      console.log(child.pid);
      return child;
    };
    createReadyShell({ spawnProcess }).start({ entrances: [], argv: ['/bin/true'], env: {}, cwd: '/' });
    setInterval(() => undefined, 1000);`;
  const keeper = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(keeper.stdout, 'data')) as [Buffer];
  const pid = Number(line.toString());
  assert.ok(identifyProcess(pid));
  keeper.kill('SIGKILL');
  await waitFor(() => identifyProcess(pid) === undefined, { what: 'its end' });
});
