// A program on a terminal. Who has the near end of its terminal depends on the OCI runtime.
import { closeSync } from 'node:fs';
import { identifyProcess } from '../../lib/process-identity.ts';
import { signalExactProcess } from '../host/processes.ts';
import { isPtyMaster, openPty } from '../host/pty.ts';
import { listenForDescriptor } from '../host/receive-descriptor.ts';
import type { Exit } from '../host/spawn.ts';
import { spawnPiped } from '../oci-runtime/run-program.ts';
import type { Common, ExecProcess, Start } from './exec-process.ts';
import { createTerminalStream } from './terminal-stream.ts';

/**
 * crun sends the near end of the terminal over the socket `name` of its working directory, and stays to tell the exit
 * code. Left to copy the output itself, crun 1.8 can end before it has copied the last of it.
 */
export function startOnConsole({ spawner, ...start }: Start, name: string, common: Common): ExecProcess {
  const terminal = createTerminalStream();
  const listener = listenForDescriptor(start.cwd, name, (fd) => {
    if (fd === undefined) return terminal.giveUp();
    if (isPtyMaster(fd)) return terminal.attach(fd);
    // Made in the container, where anything can be in its place.
    closeSync(fd);
    terminal.giveUp();
  });
  let child: ReturnType<typeof spawnPiped>;
  try {
    child = spawnPiped(spawner, { file: start.argv[0] ?? '', ...start, stdin: false });
  } catch (error) {
    listener.close();
    throw error;
  }
  // It has its own log; its stdio is for what it may not touch (see openEndedPipe()).
  child.stdout.resume();
  child.stderr.resume();
  const identity = identifyProcess(child.pid);
  return {
    ...common,
    stdin: terminal.stream,
    stdout: terminal.stream,
    stderr: undefined,
    // A program that could not be started has no terminal, and of a short one it can still be under way.
    exited: child.exited.finally(() => listener.close()),
    kill: () => common.kill(identity),
    resize: terminal.resize,
  };
}

/**
 * runc sends the near end only when it leaves at once (`--detach`), and then nobody learns the exit code. So it gets the
 * far end of a terminal of ours as its stdio, and copies between that and the container's own, to the last byte. The
 * carriage returns are left to ours, which it tells the container's only after the program may have begun: the first
 * line can end with two, which no terminal shows.
 */
export function startOnPty({ spawner, argv, env, cwd }: Start, common: Common): ExecProcess {
  const terminal = createTerminalStream();
  const { masterFd, slaveFd } = openPty();
  let child: { pid: number; exited: Promise<Exit> };
  try {
    child = spawner.spawnProcess({
      file: argv[0] ?? '',
      ...{ argv, cwd },
      env: { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin', ...env },
      fds: { 0: slaveFd, 1: slaveFd, 2: slaveFd },
      newSession: true,
    });
  } catch (error) {
    closeSync(masterFd);
    throw error;
  } finally {
    closeSync(slaveFd);
  }
  terminal.attach(masterFd);
  const identity = identifyProcess(child.pid);
  return {
    ...common,
    stdin: terminal.stream,
    stdout: terminal.stream,
    stderr: undefined,
    exited: child.exited,
    kill: () => common.kill(identity),
    resize(columns, rows) {
      terminal.resize(columns, rows);
      // It is not the runtime's controlling terminal, so the kernel does not tell it. One that starts reads the size
      // after it has begun to listen to this signal.
      if (identity) signalExactProcess(identity, 'SIGWINCH');
    },
  };
}
