// What `up`, `server` and `node` have in common: one claim on the folders, components under supervision, in the foreground
// or behind a parent that waits until they are ready.
import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createApiClient } from '../client/api-client.ts';
import { readKubeconfig } from '../client/kubeconfig.ts';
import { systemClock } from '../lib/clock.ts';
import { messageOf, WindlassError } from '../lib/errors.ts';
import type { Instance } from '../lib/instance.ts';
import { endProcess, identifyProcess, isRunning, type ProcessIdentity } from '../lib/process-identity.ts';
import type { CommandContext } from './command.ts';
import type { Component } from './components.ts';
import { EXIT } from './exit-codes.ts';
import { claimFolders } from './instance-folders.ts';
import { logFile, openLog, readLogTail, rotateLog } from './log-files.ts';
import { runMachine, type ComponentStatus } from './machine.ts';
import { checkPreconditions, type Preconditions } from './preflight.ts';
import { createProgress } from './progress.ts';
import {
  alreadyRunning,
  claimUp,
  readUpClaim,
  readUpState,
  removeUpState,
  writeUpState,
  type UpState,
} from './up-state.ts';

const LOG_ROTATION_MS = 60_000;
const CHILD_GRACE_MS = 15_000;
/** A token is for this process to join by, and for none that it starts. */
const NO_TOKEN = { WINDLASS_TOKEN: '', WINDLASS_TOKEN_FILE: '' } as const;

/** What only the process in front needs: the one behind finds that the machine has joined. */
export const JOIN_FRONT_FLAGS = [
  { name: '--detach', hasValue: false },
  { name: '--token', hasValue: true },
  { name: '--token-file', hasValue: true },
] as const;

/** What is to run, known once the folders are this process' own. */
export interface MachinePlan {
  readonly components: readonly Component[];
  /** The API server: that of this machine, or that which the node has joined. */
  readonly url: string;
  readonly kubeconfig: string;
  /** Further API servers, for when that one is away. */
  readonly otherServers?: readonly string[];
  /** Called every minute: brings what others read here up to date. */
  readonly refresh?: () => Promise<unknown>;
  /** The node of this machine; undefined for a server alone. */
  readonly nodeName?: string;
  /** `host:port` of the embedded etcd's plain health listener. */
  readonly etcdMetrics?: string;
  /** `host:port` of the registry, where one runs. */
  readonly registryListen?: string;
}

export interface InstanceCommand {
  /** The sub-command, for a detached process to be started by. */
  readonly name: 'up' | 'server' | 'node';
  /** What the user is shown once all is ready. */
  readonly nextSteps: (instance: Instance, url: string) => string;
}

export interface RunOptions {
  readonly timeoutSeconds: number;
  /** Arguments for the detached process, and what its environment holds beside this one's. */
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Throws Conflict when the instance runs already, and what checkPreconditions() finds. Components that a killed process has left
 * behind are ended.
 */
export async function prepareInstance(
  instance: Instance,
  preconditions: Preconditions,
  context: CommandContext,
): Promise<void> {
  const running = readUpState(instance);
  if (running && isRunning(running.up)) throw alreadyRunning(running.up.pid);
  await endLeftOvers(running);
  try {
    await checkPreconditions(preconditions, context.env['PATH']);
  } catch (error) {
    // Started at the same moment, and faster: it is its API server that has the address.
    const claim = readUpClaim(instance);
    throw claim ? alreadyRunning(claim.pid) : error;
  }
}

/** A process that was killed leaves its components behind: they are ended before new ones take their ports and sockets. */
async function endLeftOvers(previous: UpState | undefined): Promise<void> {
  await Promise.all(
    (previous?.components ?? []).flatMap((component) =>
      component.process ? [endProcess(component.process, CHILD_GRACE_MS)] : [],
    ),
  );
}

/** Runs what `plan` says until the command's signal fires. `onReady` is called once, when all is ready for the first time. */
export async function runInForeground(
  instance: Instance,
  command: InstanceCommand,
  plan: () => Promise<MachinePlan>,
  context: CommandContext,
  onReady: () => Promise<void> = async () => undefined,
): Promise<number> {
  const self = identifyProcess(process.pid) as ProcessIdentity;
  claimFolders(instance);
  claimUp(instance, self);
  const planned = await plan();
  const { components, url, kubeconfig, nodeName, etcdMetrics, registryListen, refresh, otherServers = [] } = planned;
  const api = createApiClient({ ...readKubeconfig(kubeconfig), otherServers });
  const steps = command.nextSteps(instance, url);
  const progress = createProgress(context.output, { instance, nextSteps: steps });
  const save = (all: readonly ComponentStatus[]): void =>
    writeUpState(instance, {
      ...{ up: self, command: command.name, url, kubeconfig, nextSteps: steps },
      ready: progress.isReady(),
      components: [...all],
    });
  const rotation = setInterval(() => {
    components.forEach(({ name }) => rotateLog(logFile(instance, name)));
    refresh?.().catch((error: unknown) => context.output.note(messageOf(error)));
  }, LOG_ROTATION_MS);
  let told: Promise<void> | undefined;
  try {
    progress.start();
    save([]);
    await runMachine(
      {
        components,
        readiness: { instance, api, nodeName: nodeName ?? '', etcdMetrics, registryListen },
        env: { ...process.env, ...NO_TOKEN, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
        clock: systemClock,
        openLog: (name) => openLog(instance, name),
        onChange: (all) => {
          progress.show(all, (name) => readLogTail(instance, name, 3));
          try {
            save(all);
          } catch (error) {
            context.output.note(`failed to write ${instance.run}/up.json: ${messageOf(error)}`);
          }
          if (progress.isReady()) told ??= onReady().catch((error: unknown) => context.output.note(messageOf(error)));
        },
      },
      context.signal,
    );
    await told;
    progress.stopped();
    return EXIT.ok;
  } finally {
    clearInterval(rotation);
    await api.close();
    removeUpState(instance);
  }
}

/** Starts the same command in the background and resolves when it is ready. */
export async function runDetached(
  instance: Instance,
  command: InstanceCommand,
  { timeoutSeconds, argv, env = {} }: RunOptions,
  context: CommandContext,
): Promise<number> {
  claimFolders(instance);
  const log = openLog(instance, 'up');
  const main = fileURLToPath(new URL('main.ts', import.meta.url));
  const child = spawn(process.execPath, [main, command.name, ...argv], {
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...process.env, WINDLASS_DETACH: '', ...NO_TOKEN, ...env },
  });
  closeSync(log);
  let exit: number | undefined;
  child.once('exit', (code) => (exit = code ?? EXIT.failure));
  let progress = createProgress(context.output, { instance, nextSteps: '' });
  progress.start();
  const deadline = Date.now() + timeoutSeconds * 1000;
  let isKnown = false;
  while (Date.now() < deadline) {
    const state = readUpState(instance);
    if (state && state.up.pid === child.pid) {
      if (!isKnown) progress = createProgress(context.output, { instance, nextSteps: state.nextSteps });
      isKnown = true;
      progress.show(state.components as ComponentStatus[], (name) => readLogTail(instance, name, 3));
      if (progress.isReady()) {
        child.unref();
        context.output.note(`\nRunning in the background as process ${child.pid}. Log: ${logFile(instance, 'up')}`);
        return EXIT.ok;
      }
    }
    if (exit !== undefined) {
      const last = readLogTail(instance, 'up', 3).join(' ').trim();
      if (exit === EXIT.conflict) throw new WindlassError('Conflict', last.replace(/^.*windlass: /, ''));
      const why = last || `it could not say why in ${logFile(instance, 'up')}; is the disk full?`;
      throw new WindlassError('Internal', `windlass ${command.name} ended early with exit code ${exit}: ${why}`);
    }
    await systemClock.sleep(50, context.signal);
  }
  child.unref();
  throw new WindlassError(
    'Timeout',
    `not ready after ${timeoutSeconds} s; it goes on trying in the background: see ${logFile(instance, 'up')}, or stop it with: windlass down`,
  );
}

/** `argv` without the flags that only the process in front needs, and their values. */
export function withoutFlags(argv: readonly string[], flags: readonly { name: string; hasValue: boolean }[]): string[] {
  const left: string[] = [];
  for (let index = 0; index < argv.length; index += 1) {
    const word = argv[index] as string;
    const flag = flags.find(({ name }) => word === name || word.startsWith(`${name}=`));
    if (!flag) left.push(word);
    else if (flag.hasValue && word === flag.name) index += 1;
  }
  return left;
}
