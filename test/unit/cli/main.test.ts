// The command as a shell sees it: what is on which stream, and the exit code.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../../cli/main.ts', import.meta.url));

const run = (...argv: string[]): { code: number | null; stdout: string; stderr: string } => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...argv], { encoding: 'utf8' });
  return { code: status, stdout, stderr };
};

test('help is a result, an unknown command a usage error, also as the topic of help', () => {
  const help = run('help', 'down');
  assert.deepEqual([help.code, help.stderr], [0, '']);
  assert.match(help.stdout, /Usage: windlass down/);
  for (const argv of [['hlep'], ['help', 'hlep']]) {
    assert.deepEqual(run(...argv), {
      code: 2,
      stdout: '',
      stderr: 'windlass: unknown command "hlep": did you mean "help"?; see windlass --help\n',
    });
  }
});

test('no command ignores a word that it has no use for', () => {
  for (const name of ['down', 'version']) {
    const { code, stdout, stderr } = run(name, 'extra');
    assert.deepEqual(
      [code, stdout, stderr],
      [2, '', `windlass: unexpected argument 'extra'; see windlass ${name} --help\n`],
    );
  }
});

test('logs wants an Image, and says who reads other logs', () => {
  for (const argv of [['container/web'], ['image/a/b']]) {
    const { code, stdout, stderr } = run('logs', ...argv);
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /want image\/NAME after logs; kubectl logs NAME reads those of a container/);
  }
});

test('an API address without a port of its own is refused', () => {
  const { code, stderr } = run('doctor', '--listen', '127.0.0.1:0');
  assert.deepEqual([code, stderr], [2, 'windlass: invalid --listen: want a port: not 0; see windlass doctor --help\n']);
});

test('version prints JSON with either form of its flag', () => {
  const long = run('version', '--output', 'json');
  assert.deepEqual(Object.keys(JSON.parse(long.stdout) as object), ['windlass', 'node', 'platform']);
  assert.equal(run('version', '-o', 'json').stdout, long.stdout);
});

test('an address of another machine is named before anything starts', () => {
  const { code, stdout, stderr } = run('doctor', '--listen', '192.0.2.1:6443');
  assert.match(stdout, /missing +API port +192\.0\.2\.1 is not an address of this machine/);
  assert.deepEqual([code, /missing: see the lines above/.test(stderr)], [1, true]);
});
