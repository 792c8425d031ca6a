// A whole windlass of its own for a test: temporary folders, free ports, real processes, purged at the end. An instance
// that a crashed run left behind is found by its folder's name and purged first.
import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../../cli/ports.ts';
import { forLeftOvers } from './left-overs.ts';

const PREFIX = 'windlass-test-';
const windlassProgram = fileURLToPath(new URL('../../bin/windlass', import.meta.url));

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface TestInstance extends AsyncDisposable {
  readonly home: string;
  readonly run: string;
  /** `host:port` of the API server. */
  readonly listen: string;
  readonly kubeconfig: string;
  readonly env: NodeJS.ProcessEnv;
  /** Flags that name this instance: `--home ... --run ...`. */
  readonly flags: readonly string[];
  /** Runs kubectl against the instance; never throws for an exit code. */
  kubectl(args: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<CommandResult>;
  /** kubectl that must succeed: its stdout; throws with stderr otherwise. */
  kubectlOk(args: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<string>;
  /** Applies YAML; throws with kubectl's message. */
  apply(yaml: string): Promise<string>;
  windlass(args: readonly string[], options?: { timeoutMs?: number }): Promise<CommandResult>;
  up(extraFlags?: readonly string[]): Promise<void>;
  /** Starts another sub-command in the background; throws with what it said when it fails. */
  start(args: readonly string[]): Promise<CommandResult>;
}

export interface InstanceOptions {
  /** Of `up`. */
  readonly flags?: readonly string[];
  /** Sandboxes kept ready; 0 in tests that compare what is on the host before and after. */
  readonly sandboxPool?: number;
  /** Further options of its processes, as environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Folders, port and commands of an instance, not started. */
export async function createInstance({ sandboxPool, env: settings }: InstanceOptions = {}): Promise<TestInstance> {
  await forLeftOvers(PREFIX, purgeLeftOver);
  const root = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  // As /run and /var/lib are: root of a user namespace, who is somebody else outside, passes through.
  chmodSync(root, 0o711);
  const [home, run, kubeHome] = ['home', 'run', 'kube'].map((name) => join(root, name)) as [string, string, string];
  mkdirSync(kubeHome);
  const [port] = await freePorts(1);
  const listen = `127.0.0.1:${port}`;
  const kubeconfig = join(home, 'admin.kubeconfig');
  const flags = ['--home', home, '--run', run];
  // kubectl keeps discovery on disk by host and port: a fresh HOME keeps it from reading an earlier server's.
  const env: NodeJS.ProcessEnv = {
    ...{ ...process.env, HOME: kubeHome, KUBECONFIG: kubeconfig, NO_COLOR: '1' },
    // One port for all of a machine: a test that wants a registry says where.
    WINDLASS_REGISTRY_LISTEN: 'none',
    ...settings,
    ...(sandboxPool === undefined ? {} : { WINDLASS_SANDBOX_POOL: String(sandboxPool) }),
  };
  const windlass: TestInstance['windlass'] = (args, options = {}) =>
    runCommand(windlassProgram, [...args, ...flags], { env, ...options });
  const kubectl: TestInstance['kubectl'] = (args, options = {}) => runCommand('kubectl', args, { env, ...options });
  const kubectlOk: TestInstance['kubectlOk'] = async (args, options = {}) => {
    const result = await kubectl(args, options);
    if (result.code !== 0)
      throw new Error(`kubectl ${args.join(' ')} ended with ${result.code}: ${result.stderr}${result.stdout}`);
    return result.stdout;
  };
  const start: TestInstance['start'] = async (args) => {
    const result = await windlass([...args, '--detach'], { timeoutMs: 90_000 });
    if (result.code !== 0) throw new Error(`windlass ${args[0]} ended with ${result.code}: ${result.stderr}`);
    return result;
  };
  return {
    ...{ home, run, listen, kubeconfig, env, flags, windlass, kubectl, kubectlOk },
    apply: (yaml) => kubectlOk(['apply', '-f', '-'], { input: asYaml(yaml) }),
    async up(extraFlags = []) {
      await start(['up', '--listen', listen, ...extraFlags]);
    },
    start,
    async [Symbol.asyncDispose]() {
      const result = await windlass(['down', '--purge']);
      if (result.code !== 0) throw new Error(`windlass down --purge ended with ${result.code}: ${result.stderr}`);
      rmSync(root, { recursive: true, force: true });
    },
  };
}

/** YAML in flow style for kubectl, which takes a text whose first character is a brace for JSON. */
export const asYaml = (yaml: string): string => (yaml.trimStart().startsWith('{') ? `# YAML\n${yaml}` : yaml);

/** A running instance whose components are all ready. */
export async function startInstance(options: InstanceOptions = {}): Promise<TestInstance> {
  const instance = await createInstance(options);
  try {
    await instance.up(options.flags);
    return instance;
  } catch (error) {
    await instance[Symbol.asyncDispose]();
    throw error;
  }
}

/** Runs a program to its end and returns what it printed; a non-zero exit is a result, not an error. */
export function runCommand(
  file: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; input?: string; timeoutMs?: number; cwd?: string } = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...args], {
      env: options.env ?? process.env,
      cwd: options.cwd,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString('utf8')));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')));
    const timeoutMs = options.timeoutMs ?? 120_000;
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${file} ${args.join(' ')} did not end within ${timeoutMs} ms; it printed: ${stdout}${stderr}`));
    }, timeoutMs);
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code: code ?? (signal ? 128 : 1), stdout, stderr });
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

async function purgeLeftOver(root: string): Promise<void> {
  await new Promise<void>((resolve) => {
    execFile(windlassProgram, ['down', '--purge', '--home', join(root, 'home'), '--run', join(root, 'run')], () =>
      resolve(),
    );
  });
  rmSync(root, { recursive: true, force: true });
}
