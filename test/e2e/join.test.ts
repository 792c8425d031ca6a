// A second machine joins a running server, as two instances on one host: real processes, real kubectl.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { busyboxOn } from '../support/busybox.ts';
import { createInstance, startInstance, type CommandResult, type TestInstance } from '../support/instance.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

test('a second node joins', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const server = await startInstance({ flags: ['--node-name', 'first'], sandboxPool: 0 });
  t.after(() => server[Symbol.asyncDispose]());
  const second = await createInstance({ sandboxPool: 0 });
  t.after(() => second[Symbol.asyncDispose]());
  const { kubectl, kubectlOk } = server;

  const token = async (...args: string[]): Promise<string> => {
    const made = await server.windlass(['token', 'create', ...args]);
    assert.equal(made.code, 0, made.stderr);
    return made.stdout.trim();
  };
  const command = (await token('--print-join-command', '--uses', '1')).split(' ').slice(1);
  const valueOf = (flag: string): string => command[command.indexOf(flag) + 1] ?? '';
  const [url, caHash] = [valueOf('--server'), valueOf('--ca-hash')];
  assert.equal(url, `https://${server.listen}`);
  /** Tries to join with these flags; it must fail before anything is started. */
  const refused = async (args: string[], code: number, says: RegExp): Promise<void> => {
    const result: CommandResult = await second.windlass(['node', ...args], { timeoutMs: 60_000 });
    assert.match(result.stderr, says);
    assert.equal(result.code, code, result.stderr);
    assert.equal(existsSync(join(second.home, 'joined.json')), false);
  };
  const flagsWith = (text: string, name = 'second'): string[] => [
    ...['--server', url, '--ca-hash', caHash, '--token', text, '--node-name', name],
  ];

  await t.test('wrong flags and hashes are refused, each by its name', async () => {
    await refused([], 2, /missing --server, --token, --ca-hash: .*windlass token create --print-join-command/);
    await refused(flagsWith('not-a-token'), 2, /invalid --token: want a join token such as/);
    const [text, wrong] = [valueOf('--token'), `sha256:${'0'.repeat(64)}`];
    const says = /as --ca-hash says: .* nothing was told to it/;
    await refused(['--server', url, '--token', text, '--ca-hash', wrong], 1, says);
  });

  await t.test("a name that is another's is refused, and costs no use of the token", async () => {
    await refused(flagsWith(valueOf('--token'), 'first'), 1, /the name "first" belongs to a node with another key/);
    const { stdout } = await server.windlass(['token', 'list']);
    assert.match(stdout, new RegExp(`${valueOf('--token').slice(0, 6)} .* 0 of 1`));
  });

  await t.test('it joins by the printed command, its token from a file, and both nodes are Ready', async () => {
    const file = join(second.env['HOME'] as string, 'token');
    writeFileSync(file, `${valueOf('--token')}\n`, { mode: 0o600 });
    const flagsOf = ['--server', url, '--ca-hash', caHash, '--token-file', file, '--node-name', 'second'];
    const { stderr } = await second.start(['node', ...flagsOf]);
    assert.match(stderr, /joined https:\/\/.* as node second/);
    await kubectlOk(['wait', '--for=condition=Ready', 'nodes', '--all', '--timeout=30s']);
    const names = await kubectlOk(['get', 'nodes', '-o', 'name']);
    assert.deepEqual(names.trim().split('\n'), ['node/first', 'node/second']);
    assert.match(
      await kubectlOk(['get', 'csr']),
      /kube-apiserver-client-kubelet +system:bootstrap:\w{6} .*Approved,Issued/,
    );
  });

  await t.test('a Container bound to it runs there; logs and exec come through the API server', async () => {
    await server.apply(await busyboxOn('second', 'web'));
    await kubectlOk(['wait', '--for=condition=Ready', 'ctr/web', '--timeout=60s']);
    await waitFor(async () => (await kubectlOk(['logs', 'web'])).includes('hello from web'), { what: 'the log' });
    assert.equal(await kubectlOk(['exec', 'web', '--', 'echo', 'in it']), 'in it\n');
  });

  await t.test('joining again says that it has joined, and the node keeps working', async () => {
    const running = await second.windlass(['node', ...flagsWith(valueOf('--token'))]);
    assert.match(running.stderr, /already running as process/);
    assert.equal((await second.windlass(['down'])).code, 0);
    const { stderr } = await second.start(['node', ...flagsWith(valueOf('--token'))]);
    assert.match(stderr, /already joined https:\/\/.* as node second: the token was not used/);
    assert.match(await kubectlOk(['logs', 'web']), /hello from web/);
    const elsewhere = await second.windlass(['up']);
    assert.match(elsewhere.stderr, /already running|is that of node second/);
  });

  await t.test('a Node that is deleted is refused at once, until it joins again', async () => {
    await kubectlOk(['delete', 'node', 'second']);
    await waitFor(() => /does not take this node any more/.test(agentLog(second)), { what: 'the agent being refused' });
    assert.equal((await kubectl(['get', 'node', 'second'])).code, 1, 'it has made its Node again');
    assert.equal((await second.windlass(['down'])).code, 0);
    const { code, stderr } = await second.windlass(['node']);
    assert.match(stderr, /node "second" was deleted, or another machine has joined under its name/);
    assert.equal(code, 1);
    await second.start(['node', ...flagsWith(await token('--uses', '1'))]);
    await kubectlOk(['wait', '--for=condition=Ready', 'node/second', '--timeout=30s']);
  });
});

const agentLog = ({ home }: TestInstance): string => readFileSync(join(home, 'logs', 'node-agent.log'), 'utf8');
