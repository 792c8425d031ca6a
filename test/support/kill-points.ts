// Preloaded (`node --import`) into a runtime shim under test: makes the unmodified program die, by SIGKILL to itself,
// right after the step of its work that a test names. A step is one effect on the host: a file made, written, renamed or
// removed, a system call through FFI, a signal sent. Steps are named by what they do (`rename $RUN/shim/containers/<id>.json`),
// so that code which gains a step gains the tests of it.
//
// The file named by KILL_POINTS arms it: no file, nothing happens. It holds `{ "match": pattern, "nth": n }` (die after the
// nth step whose name matches) or `{}` (only write down what happens). Every step since the arming is a line of
// `<file>.trace`.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { kernel, libc } from '../../runtime-shim/host/libc.ts';

export interface KillPlan {
  readonly match?: string;
  readonly nth?: number;
}

type AnyFunction = (...args: never[]) => unknown;
type Table = Record<string, AnyFunction>;

const control = process.env['KILL_POINTS'] ?? '';
const real = { readFileSync: fs.readFileSync, appendFileSync: fs.appendFileSync, kill: process.kill.bind(process) };
const folders = [
  ['--run', '$RUN'],
  ['--home', '$HOME'],
].map(([flag = '', short = '']) => [process.argv[process.argv.indexOf(flag) + 1] ?? '', short] as const);

let armed = '';
let plan: KillPlan | undefined;
let matches = 0;
let depth = 0;

function readPlan(): KillPlan | undefined {
  let text: string;
  try {
    text = real.readFileSync(control, 'utf8');
  } catch {
    // Not armed.
    armed = '';
    return undefined;
  }
  if (text !== armed) {
    armed = text;
    matches = 0;
    plan = JSON.parse(text) as KillPlan;
  }
  return plan;
}

function pass(name: string): void {
  // What is done here is no step of the shim's.
  depth += 1;
  const current = readPlan();
  if (current) real.appendFileSync(`${control}.trace`, `${name}\n`);
  depth -= 1;
  if (!current) return;
  if (current.match === undefined || !new RegExp(current.match).test(name)) return;
  matches += 1;
  if (matches === (current.nth ?? 1)) real.kill(process.pid, 'SIGKILL');
}

/** Ids and random names become words: the same step has the same name in every run. */
function shorten(text: string): string {
  let short = text;
  for (const [folder, word] of folders) if (folder !== '') short = short.replaceAll(folder, word);
  return short
    .replaceAll(/[0-9a-f]{64}/g, '<id>')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,}/g, '<uuid>')
    .replaceAll(/[0-9a-f]{12,}/g, '<hex>');
}

const describe = (args: readonly unknown[]): string =>
  args
    .slice(0, 2)
    .filter((arg) => typeof arg === 'string' && arg.startsWith('/'))
    .map((arg) => shorten(String(arg)))
    .join(' ');

function wrap(table: object, name: string, label: (args: readonly unknown[]) => string | undefined): void {
  const functions = table as Table;
  const original = functions[name] as AnyFunction;
  functions[name] = function wrapped(this: unknown, ...args: never[]): unknown {
    depth += 1;
    let result: unknown;
    try {
      result = original.apply(this, args);
    } finally {
      depth -= 1;
    }
    // A call made by another one is part of that one's step; a failed system call (whose errno is still to be read) is none.
    const step = depth === 0 && result !== -1 ? label(args) : undefined;
    if (step === undefined) return result;
    const text = `${isMainThread ? '' : 'worker: '}${step}`;
    if (result instanceof Promise) {
      return result.then((value: unknown) => {
        pass(text);
        return value;
      });
    }
    pass(text);
    return result;
  };
}

if (control !== '') {
  const isWrite = (flags: unknown): boolean =>
    typeof flags === 'string' ? /[wa+]/.test(flags) : typeof flags === 'number' && (flags & 3) !== 0;
  for (const name of ['mkdir', 'rename', 'rm', 'rmdir', 'unlink', 'writeFile', 'chmod', 'chown', 'symlink', 'link']) {
    wrap(fs, `${name}Sync`, (args) => `${name} ${describe(args)}`);
    wrap(fs.promises, name, (args) => `${name} ${describe(args)}`);
  }
  wrap(fs, 'openSync', (args) => (isWrite(args[1]) ? `open ${describe(args)}` : undefined));
  wrap(fs, 'writeSync', () => 'write');
  wrap(fs.promises, 'open', (args) => (isWrite(args[1]) ? `open ${describe(args)}` : undefined));
  wrap(process, 'kill', (args) => (args[1] === 0 ? undefined : 'kill'));
  const handle = await fs.promises.open('/dev/null');
  for (const name of ['write', 'writev', 'writeFile', 'truncate'])
    wrap(Object.getPrototypeOf(handle) as object, name, () => 'write to a blob');
  await handle.close();
  syncBuiltinESMExports();

  for (const name of ['mount', 'umount2', 'unshare', 'sethostname', 'mknod', 'mkfifo', 'lsetxattr'])
    wrap(libc, name, (args) => `${name} ${describe(args)}`);
  wrap(libc, 'umount2OnThread', (args) => `umount2 ${describe(args)}`);
  wrap(libc, 'posixSpawn', (args) => `spawn ${describe(args.slice(1, 2))} ${commandOf(args[4])}`);
  wrap(libc, 'send', (args) => netlinkStep(args[1] as Buffer));
  for (const name of ['moveMount', 'fsmount', 'mountSetattr', 'pidfdSendSignal'])
    wrap(kernel, name, (args) => `${name} ${describe(args)}`);
}

/** The words of a command that say what it is for. */
function commandOf(argv: unknown): string {
  const words = Array.isArray(argv) ? argv.map(String) : [];
  return words.filter((word) => /^(create|start|delete|exec|run|-f|-e)$/.test(word)).join(' ');
}

/** Message type of a netlink request that changes something; a dump only asks. */
function netlinkStep(message: Buffer): string | undefined {
  const [type, flags] = [message.readUInt16LE(4), message.readUInt16LE(6)];
  return (flags & 0x300) === 0x300 ? undefined : `netlink ${type}`;
}
