import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createApiClient } from '../../client/api-client.ts';
import { readKubeconfig } from '../../client/kubeconfig.ts';
import { systemClock } from '../../lib/clock.ts';
import { loadConfig } from '../../lib/config.ts';
import { messageOf, WindlassError } from '../../lib/errors.ts';
import { endProcess, identifyProcess, isRunning, type ProcessIdentity } from '../../lib/process-identity.ts';
import type { Instance } from '../../lib/instance.ts';
import { parseNodeIps } from '../../lib/node-address.ts';
import type { Command, CommandContext } from '../command.ts';
import { planComponents } from '../components.ts';
import { EXIT } from '../exit-codes.ts';
import { logFile, openLog, readLogTail, rotateLog } from '../log-files.ts';
import { runMachine, type ComponentStatus } from '../machine.ts';
import { claimFolders } from '../instance-folders.ts';
import { instanceFlags, instanceOf, upOptions, type UpOptions } from '../options.ts';
import { ensurePki } from '../pki.ts';
import { chooseEtcdPorts } from '../ports.ts';
import { checkPreconditions } from '../preflight.ts';
import { createProgress } from '../progress.ts';
import {
  alreadyRunning,
  claimUp,
  readClaim,
  readUpState,
  removeUpState,
  writeUpState,
  type UpState,
} from '../up-state.ts';

const LOG_ROTATION_MS = 60_000;
const CHILD_GRACE_MS = 15_000;

export const upCommand: Command = {
  name: 'up',
  summary: 'Start everything on this machine and keep it running',
  usage: 'windlass up [flags]',
  flags: [
    ...instanceFlags,
    { flag: '--listen HOST:PORT', text: 'API server address (default 127.0.0.1:6443)' },
    { flag: '--detach', text: 'go to the background once everything is ready' },
    { flag: '--etcd-servers URLS', text: 'use an etcd cluster of your own instead of the embedded one' },
    { flag: '--node-name NAME', text: "this node's name (default: the host name)" },
    { flag: '--node-ip ADDRESSES', text: 'how other machines reach this one: IPv4, IPv6, or both with a comma' },
    { flag: '--oci-runtime NAME', text: 'auto (default: crun where it works, else runc), runc, crun or a path' },
    { flag: '--cri-socket FILE', text: "use another CRI runtime (containerd, CRI-O) instead of windlass' own" },
    { flag: '--registries-config FILE', text: 'mirrors and credentials per registry host' },
    {
      flag: '--registry-listen HOST:PORT',
      text: 'address of the built-in registry (not part of this version: noted in the log)',
    },
    { flag: '--metrics-listen HOST:PORT', text: 'first metrics port of the node processes (default: any free port)' },
    { flag: '--log-level LEVEL', text: 'trace, debug, info (default), warn or error' },
    { flag: '--timeout-seconds N', text: 'with --detach: how long to wait for readiness (default 60)' },
  ],
  examples: [
    'windlass up',
    'windlass up --detach',
    'windlass up --home /srv/windlass --run /run/windlass-two --listen 127.0.0.1:7443',
  ],
  async run(context) {
    const { config } = loadConfig(upOptions, context);
    const instance = instanceOf(config);
    const running = readUpState(instance);
    if (running && isRunning(running.up)) {
      throw alreadyRunning(running.up.pid);
    }
    await endLeftOvers(running);
    try {
      await checkPreconditions({
        listen: config.listen,
        needsEtcd: config.etcdServers === undefined,
        path: context.env['PATH'],
      });
    } catch (error) {
      // Started at the same moment, and faster: it is its API server that has the address.
      const claim = readClaim(instance);
      throw claim ? alreadyRunning(claim.pid) : error;
    }
    return config.detach ? runDetached(instance, config, context) : runInForeground(instance, config, context);
  },
};

/** An `up` that was killed leaves its components behind: they are ended before new ones take their ports and sockets. */
async function endLeftOvers(previous: UpState | undefined): Promise<void> {
  await Promise.all(
    (previous?.components ?? []).flatMap((component) =>
      component.process ? [endProcess(component.process, CHILD_GRACE_MS)] : [],
    ),
  );
}

async function runInForeground(instance: Instance, config: UpOptions, context: CommandContext): Promise<number> {
  const self = identifyProcess(process.pid) as ProcessIdentity;
  claimFolders(instance);
  claimUp(instance, self);
  const kubeconfig = await ensurePki(instance, {
    listen: config.listen,
    nodeName: config.nodeName,
    nodeIps: config.nodeIp === undefined ? [] : parseNodeIps(config.nodeIp),
    now: Date.now(),
  });
  const etcdPorts = config.etcdServers === undefined ? await chooseEtcdPorts(instance) : undefined;
  const components = planComponents(instance, config, etcdPorts);
  const api = createApiClient(readKubeconfig(kubeconfig));
  const progress = createProgress(context.output, { instance, listen: config.listen });
  const save = (all: readonly ComponentStatus[]): void =>
    writeUpState(instance, {
      up: self,
      listen: config.listen,
      kubeconfig,
      ready: progress.isReady(),
      components: [...all],
    });
  const rotation = setInterval(
    () => components.forEach(({ name }) => rotateLog(logFile(instance, name))),
    LOG_ROTATION_MS,
  );
  try {
    progress.start();
    save([]);
    await runMachine(
      {
        components,
        readiness: {
          instance,
          api,
          nodeName: config.nodeName,
          etcdMetrics: etcdPorts && `127.0.0.1:${etcdPorts.metrics}`,
        },
        env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
        clock: systemClock,
        openLog: (name) => openLog(instance, name),
        onChange: (all) => {
          progress.show(all, (name) => readLogTail(instance, name, 3));
          try {
            save(all);
          } catch (error) {
            context.output.note(`failed to write ${instance.run}/up.json: ${messageOf(error)}`);
          }
        },
      },
      context.signal,
    );
    progress.stopped();
    return EXIT.ok;
  } finally {
    clearInterval(rotation);
    await api.close();
    removeUpState(instance);
  }
}

async function runDetached(instance: Instance, config: UpOptions, context: CommandContext): Promise<number> {
  claimFolders(instance);
  const log = openLog(instance, 'up');
  const main = fileURLToPath(new URL('../main.ts', import.meta.url));
  const argv = context.argv.filter((argument) => !argument.startsWith('--detach'));
  const child = spawn(process.execPath, [main, 'up', ...argv], {
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...process.env, WINDLASS_DETACH: '' },
  });
  closeSync(log);
  let exit: number | undefined;
  child.once('exit', (code) => (exit = code ?? EXIT.failure));
  const progress = createProgress(context.output, { instance, listen: config.listen });
  progress.start();
  const deadline = Date.now() + config.timeoutSeconds * 1000;
  while (Date.now() < deadline) {
    const state = readUpState(instance);
    if (state && state.up.pid === child.pid) {
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
      throw new WindlassError('Internal', `windlass up ended early with exit code ${exit}: ${why}`);
    }
    await systemClock.sleep(50, context.signal);
  }
  child.unref();
  throw new WindlassError(
    'Timeout',
    `not ready after ${config.timeoutSeconds} s; it goes on trying in the background: see ${logFile(instance, 'up')}, or stop it with: windlass down`,
  );
}
