// Programs on a terminal, with either OCI runtime: one sends the terminal, the other copies.
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { paths } from '../../../lib/instance.ts';
import { requirePrograms, requireRoot } from '../../support/require.ts';
import { startTestShim, type TestShim } from '../../support/shim.ts';
import { openStreams, type StreamClient } from '../../support/stream-client.ts';
import { waitFor } from '../../support/wait.ts';

const RUNS = process.env['WINDLASS_LONG'] === '1' ? 300 : 100;
const AT_ONCE = 4;

interface Subject extends AsyncDisposable {
  readonly shim: TestShim;
  readonly containerId: string;
  open(cmd: string[], options?: { stdin?: boolean; containerId?: string }): Promise<StreamClient>;
}

async function startSubject(runtime: string): Promise<Subject> {
  const shim = await startTestShim({ sandboxPool: 0, env: () => ({ WINDLASS_OCI_RUNTIME: runtime }) });
  const containerId = await shim.run('terminal', { command: ['sleep', '1000'] });
  return {
    ...{ shim, containerId },
    async open(cmd, { stdin = false, containerId: id = containerId } = {}) {
      const wanted = { tty: true, stdin, stdout: true, stderr: false };
      const { url } = await shim.cri.runtime.exec({ containerId: id, cmd, ...wanted });
      return openStreams(url, 'websocket', wanted);
    },
    [Symbol.asyncDispose]: () => shim[Symbol.asyncDispose](),
  };
}

async function runToEnd(subject: Subject, cmd: string[]): Promise<{ stdout: string; code: string }> {
  using client = await subject.open(cmd);
  const { status, message, details } = await client.status();
  const cause = (details?.causes[0] as { message?: string } | undefined)?.message;
  return { stdout: client.stdout, code: status === 'Success' ? '0' : (cause ?? message ?? '') };
}

const openFiles = ({ shim }: Subject): number => readdirSync(`/proc/${shim.process.pid ?? 0}/fd`).length;
const bundleOf = ({ shim, containerId }: Subject): string => join(paths.shimState(shim.instance), 'b', containerId);
const execFiles = (subject: Subject): string[] =>
  readdirSync(bundleOf(subject)).filter((name) => name.startsWith('exec-'));

const subjects = new Map<string, Promise<Subject>>();
after(async () => {
  for (const subject of subjects.values()) await (await subject)[Symbol.asyncDispose]();
});

async function getSubject(t: TestContext, runtime: string): Promise<Subject | undefined> {
  if (!requireRoot(t) || !requirePrograms(t, runtime)) return undefined;
  const known = subjects.get(runtime) ?? startSubject(runtime);
  subjects.set(runtime, known);
  return known;
}

for (const runtime of ['crun', 'runc']) {
  test(`${runtime}: no output of a short program is lost, and its exit code is its own`, async (t) => {
    const subject = await getSubject(t, runtime);
    if (!subject) return;
    await runToEnd(subject, ['true']);
    const filesBefore = openFiles(subject);
    const wrong: object[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      for (let run = next++; run < RUNS; run = next++) {
        const code = run % 3;
        const cmd = code === 0 ? ['echo', 'hello'] : ['sh', '-c', `echo hello; exit ${code}`];
        const ended = await runToEnd(subject, cmd);
        // runc can leave a second carriage return: see startOnPty().
        if (!/^hello\r+\n$/.test(ended.stdout) || ended.code !== String(code)) wrong.push({ run, ...ended });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    assert.deepEqual(wrong, []);
    await waitFor(() => execFiles(subject).length === 0, { what: 'the end of all temporary files' });
    await waitFor(() => openFiles(subject) <= filesBefore + 2, { what: `${filesBefore} open files of the shim` });
  });

  test(`${runtime}: a terminal that is full when its program ends is read to its end`, async (t) => {
    const subject = await getSubject(t, runtime);
    if (!subject) return;
    for (let run = 0; run < 10; run += 1) {
      const { stdout, code } = await runToEnd(subject, ['sh', '-c', 'head -c 300000 /dev/zero | tr "\\0" x; exit 5']);
      assert.deepEqual([stdout.length, code], [300_000, '5']);
    }
  });

  test(`${runtime}: a program that cannot be started ends with the code of a shell and leaves nothing`, async (t) => {
    const subject = await getSubject(t, runtime);
    if (!subject) return;
    const codes = [await runToEnd(subject, ['/missing']), await runToEnd(subject, ['/etc'])].map(({ code }) => code);
    assert.deepEqual(codes, ['127', '126']);
    await waitFor(() => execFiles(subject).length === 0, { what: 'the end of all temporary files' });
  });

  test(`${runtime}: a process left behind with the terminal open does not hold the session for ever`, async (t) => {
    const subject = await getSubject(t, runtime);
    if (!subject) return;
    const { stdout, code } = await runToEnd(subject, [
      'sh',
      '-c',
      'trap "" HUP; echo said; setsid sleep 4328 & sleep 0.2; exit 7',
    ]);
    assert.match(stdout, /^said\r+\n$/);
    assert.equal(code, '7');
  });

  test(`${runtime}: each new size reaches the program`, async (t) => {
    const subject = await getSubject(t, runtime);
    if (!subject) return;
    using client = await subject.open(
      ['sh', '-c', 'trap "stty size" WINCH; echo ready; while ! read -t 1 line; do :; done; exit 3'],
      { stdin: true },
    );
    await waitFor(() => client.stdout.includes('ready'));
    for (const [columns, rows] of [
      [133, 47],
      [80, 24],
      [200, 50],
    ] as const) {
      client.resize(columns, rows);
      await waitFor(() => client.stdout.includes(`${rows} ${columns}`), { what: `the size ${columns}x${rows}` });
    }
    client.write('\n');
    assert.match((await client.status()).message ?? '', /3/);
  });

  test(`${runtime}: input that a program does not read holds nobody up`, async (t) => {
    const subject = await getSubject(t, runtime);
    if (!subject) return;
    using client = await subject.open(['sh', '-c', 'stty raw; echo ready; exec sleep 4327'], { stdin: true });
    await waitFor(() => client.stdout.includes('ready'));
    client.write(Buffer.alloc(1_000_000, 'x'));
    assert.equal((await runToEnd(subject, ['sh', '-c', 'exit 6'])).code, '6');
    client[Symbol.dispose]();
    await waitFor(async () => !/4327/.test(await subject.shim.exec(subject.containerId, 'ps', '-o', 'args')), {
      what: 'the end of the program',
    });
  });
}

test('a terminal of a container with a user namespace is sent and sized like any other', async (t) => {
  const subject = await getSubject(t, 'crun');
  if (!subject) return;
  const mapping = [{ containerId: 0, hostId: 1_000_000, length: 65_536 }];
  const usernsOptions = { mode: 'POD', uids: mapping, gids: mapping } as const;
  const linux = {
    securityContext: { namespaceOptions: { network: 'POD', pid: 'POD', ipc: 'POD', usernsOptions } },
  } as const;
  const containerId = await subject.shim.run('mapped', { command: ['sleep', '1000'], linux }, { linux });
  const mapped = { ...subject, containerId };
  using client = await subject.open(
    ['sh', '-c', 'while [ "$(stty size)" != "47 133" ]; do :; done; stat -c %u $(tty)'],
    {
      containerId,
    },
  );
  client.resize(133, 47);
  await client.status();
  assert.equal(client.stdout, '0\r\n');
  assert.deepEqual(execFiles(mapped), []);
});

test('the socket of an exec that died with its shim is removed by the next', async (t) => {
  const subject = await getSubject(t, 'crun');
  if (!subject) return;
  await subject.shim.kill();
  writeFileSync(join(bundleOf(subject), 'exec-0123456789abcdef.sock'), '');
  await subject.shim.start();
  assert.deepEqual(execFiles(subject), []);
});
