// A test host: network, mount, process, host name and IPC namespaces of its own around one init, which takes everything
// with it when it is killed. Cutting its power is one signal; what it has on disk stays for the next boot.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { openCgroups } from '../../../runtime-shim/cgroups/cgroups.ts';
import { kernelNames, type Instance } from '../../../lib/instance.ts';
import { runCommand, type CommandResult } from '../instance.ts';
import { childrenOf, dieWithParent } from './supervised.ts';

export interface Machine {
  readonly name: string;
  readonly instance: Instance;
  isOn(): boolean;
  /** The init's process id, as this process sees it. */
  pid(): number;
  /** Does nothing when it is on. */
  powerOn(): Promise<void>;
  /** Every process dies at once; namespaces, mounts and links go, files stay. */
  powerOff(): Promise<void>;
  /** The words that run a program inside. */
  within(): readonly string[];
  run(args: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<CommandResult>;
  /** `path` of the machine, as this process can open it. */
  pathOf(path: string): string;
}

/**
 * The mount view: nothing of other tests, the run folder in memory, /sys of the own network namespace. Then the init,
 * which does nothing but reap.
 */
const BOOT = `
set -e
hostname "$1"
mount --make-rprivate /
grep -oE '^([^ ]+ ){4}(/tmp|/dev/shm|/run/netns|/var/lib/docker)/[^ ]+' /proc/self/mountinfo | cut -d' ' -f5 | sort -r |
  while read -r path; do umount -l "$path" 2>/dev/null || true; done
mount -t tmpfs -o mode=711 tmpfs "$2"
mkdir "$2/.cgroup"
mount --move /sys/fs/cgroup "$2/.cgroup"
mount -t sysfs sysfs /sys
mount --move "$2/.cgroup" /sys/fs/cgroup
rmdir "$2/.cgroup"
echo up
exec catatonit -P
`;

/** The machine, switched off. Its state and run folders are as in `instance`. */
export function createMachine(name: string, instance: Instance): Machine {
  let shell: ChildProcess | undefined;
  let init: number | undefined;
  const isOn = (): boolean => init !== undefined && shell?.exitCode === null && shell.signalCode === null;
  const pid = (): number => {
    if (init === undefined || !isOn()) throw new Error(`host ${name} is off`);
    return init;
  };
  const within = (): readonly string[] => ['nsenter', '-t', String(pid()), '-n', '-m', '-u', '-i', '-p', '--'];
  const machine: Machine = {
    name,
    instance,
    isOn,
    pid,
    within,
    async powerOn() {
      if (isOn()) return;
      mkdirSync(instance.home, { recursive: true, mode: 0o711 });
      mkdirSync(instance.run, { recursive: true, mode: 0o711 });
      const [file = '', ...words] = [
        ...dieWithParent,
        ...['unshare', '--net', '--mount', '--uts', '--ipc', '--pid', '--fork', '--kill-child', '--mount-proc', '--'],
        ...['sh', '-c', BOOT, 'sh', name, instance.run],
      ];
      const started = spawn(file, words, { stdio: ['ignore', 'pipe', 'pipe'] });
      shell = started;
      await new Promise<void>((resolve, reject) => {
        let errors = '';
        started.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
        started.stdout.once('data', () => resolve());
        started.once('error', reject);
        started.once('exit', () => reject(new Error(`host ${name} did not start: ${errors}`)));
      });
      [init] = childrenOf(started.pid ?? 0);
    },
    async powerOff() {
      if (isOn()) {
        const ended = new Promise((resolve) => shell?.once('exit', resolve));
        process.kill(pid(), 'SIGKILL');
        await ended;
      }
      init = undefined;
      const cgroups = openCgroups();
      const parent = kernelNames.cgroupParent(instance);
      await cgroups.killAll(parent, AbortSignal.timeout(10_000));
      cgroups.remove(parent);
    },
    async run(args, options = {}) {
      const [file = '', ...words] = within();
      return runCommand(file, [...words, ...args], options);
    },
    pathOf: (path) => `/proc/${pid()}/root${path}`,
  };
  return machine;
}
