import type { Heredoc, RunInstruction } from '../dockerfile/ast.ts';
import { MAX_WORD } from '../dockerfile/expand.ts';
import { type Flags, readFlags } from '../dockerfile/flags.ts';
import { heredocText, parseHeredocStart } from '../dockerfile/heredoc.ts';
import { commonFields, type InstructionSource } from '../dockerfile/instruction-source.ts';
import { withPlace } from '../dockerfile/problem.ts';
import { quote, shown } from '../dockerfile/syntax-error.ts';
import type { RunOperation } from '../operations.ts';
import { commandArgs, parseCommand } from './command-form.ts';
import { evaluateMounts } from './mount.ts';
import { splitMount } from './mount-options.ts';
import { type Change, type Scope, splitEnv, variablesOf } from './scope.ts';
import { volumePaths, warnOfVolumes } from './volume.ts';
import { workdirOf } from './workdir.ts';

const FLAGS = { mount: 'list', network: 'text', security: 'text', device: 'list' } as const;

export function parseRun(source: InstructionSource): RunInstruction {
  const flags = readFlags(source, FLAGS);
  const network = checkRights(source, flags);
  for (const flag of source.flags.filter(({ name }) => name === 'mount')) {
    withPlace(
      (problem) => source.flagError(`--mount=${shown(flag.value ?? '')}: ${problem}`, flag),
      () => splitMount(flag.value ?? ''),
    );
  }
  const command = parseCommand(source);
  if (command.form === 'exec' && command.args.length === 0) throw source.error('RUN needs a command');
  const mounts = flags.list('mount');
  return { kind: 'RUN', ...commonFields(source), command, mounts, ...(network === undefined ? {} : { network }) };
}

/** Refuses what would need a grant: there is none to be had. Gives the network. */
function checkRights(source: InstructionSource, flags: Flags<keyof typeof FLAGS>): string | undefined {
  const refuse = (name: keyof typeof FLAGS, problem: string): Error => {
    const flag = source.flags.find((other) => other.name === name);
    return flag === undefined ? source.error(problem) : source.flagError(problem, flag);
  };
  const security = flags.text('security')?.toLowerCase() ?? 'sandbox';
  if (security === 'insecure') throw refuse('security', '--security=insecure is refused: no build is granted that');
  if (security !== 'sandbox') throw refuse('security', `--security takes sandbox, not ${quote(security)}`);
  if (flags.list('device').length > 0) {
    throw refuse('device', '--device is refused: builds have no devices of the node');
  }
  const network = flags.text('network')?.toLowerCase();
  if (network === undefined || network === 'default' || network === 'none') return network;
  if (network === 'host') {
    throw refuse('network', "--network=host is refused: no build is granted the node's own network");
  }
  throw refuse('network', `--network takes default or none, not ${quote(network)}`);
}

export function evaluateRun(instruction: RunInstruction, scope: Scope): Change {
  const { state } = scope;
  const { args, script } = commandOf(instruction, scope);
  const tooLong = args.find((arg) => Buffer.byteLength(arg) > MAX_WORD);
  if (tooLong !== undefined) {
    throw scope.error(
      `the command has ${tooLong.length} characters, and the kernel takes ${MAX_WORD}: COPY it as a file`,
    );
  }
  const volumes = volumePaths(scope);
  const cwd = workdirOf(state);
  warnOfVolumes(instruction, volumes, cwd, scope);
  const variables = variablesOf(state);
  const own = new Set(variables.names());
  const set = new Set((state.config.Env ?? []).map((entry) => splitEnv(entry)[0]));
  const argEnv = [...state.args].flatMap(([name, value]) =>
    value === undefined || set.has(name) ? [] : [`${name}=${value}`],
  );
  const operation: RunOperation = {
    kind: 'run',
    args,
    env: [...(state.config.Env ?? []), ...argEnv],
    proxyEnv: state.plan.proxyEnv.filter((entry) => !own.has(splitEnv(entry)[0])),
    cwd,
    user: state.config.User ?? '',
    mounts: evaluateMounts(instruction.mounts, scope),
    network: instruction.network === 'none' ? 'none' : 'default',
    volumes,
    ...(script === undefined ? {} : { script }),
  };
  // Docker's notation: the arguments a command could see are in front of it.
  const declared = [...state.args.keys()].map((name) => `${name}=${variables.get(name) ?? ''}`);
  const prefix = declared.length === 0 ? [] : [`|${declared.length}`, ...declared];
  return { state, operation, createdBy: `RUN ${[...prefix, ...args].join(' ')}` };
}

/**
 * What is executed. A here-document alone is the command itself, or a script file where it begins with `#!`; one with
 * a command before it is for the shell to read.
 */
function commandOf(
  { command, heredocs }: RunInstruction,
  scope: Scope,
): { args: string[]; script?: RunOperation['script'] } {
  const [first] = heredocs;
  if (command.form === 'exec' || first === undefined) return { args: commandArgs(command, scope.state) };
  if (heredocs.length > 1 || parseHeredocStart(command.line) === undefined) {
    const line = command.line + heredocs.map(({ name, content }) => `\n${content}${name}`).join('');
    return { args: commandArgs({ form: 'shell', line }, scope.state) };
  }
  const text = heredocText(first);
  if (!text.startsWith('#!')) return { args: commandArgs({ form: 'shell', line: text }, scope.state) };
  const line = `/dev/pipes/${scriptName(first, scope)}`;
  return { args: commandArgs({ form: 'shell', line }, scope.state), script: { name: first.name, content: text } };
}

/** The name goes to a shell as part of a path. */
function scriptName({ name }: Heredoc, scope: Scope): string {
  if (/^[\w.-]+$/.test(name) && !/^\.+$/.test(name)) return name;
  throw scope.error(`${quote(name)} cannot be the name of a script: it needs letters, digits, "_", "-" and "." only`);
}
