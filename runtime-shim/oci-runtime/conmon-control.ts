// Lines for conmon's `ctl` fifo: `1 HEIGHT WIDTH` sizes the terminal, `2 0 0` opens the log anew.
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { errnoOf, WindlassError } from '../../lib/errors.ts';
import { bundleFiles } from './conmon.ts';

/** Makes conmon close its log file and open it by name again; it does so some time after this returns. */
export function askToReopenLog(bundle: string, containerId: string): void {
  writeControl(bundleFiles.control(bundle), '2 0 0\n', containerId);
}

/** Tells the terminal of a container its size. */
export function resizeTerminal(bundle: string, containerId: string, size: { columns: number; rows: number }): void {
  writeControl(bundleFiles.control(bundle), `1 ${size.rows} ${size.columns}\n`, containerId);
}

function writeControl(fifo: string, line: string, containerId: string): void {
  let fd: number;
  try {
    // Without a reader this fails at once instead of waiting for one.
    fd = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) === 'ENXIO' || errnoOf(error) === 'ENOENT') {
      throw new WindlassError('Unavailable', `the monitor of container ${containerId} does not listen`, {
        cause: error,
      });
    }
    throw error;
  }
  try {
    writeSync(fd, line);
  } finally {
    closeSync(fd);
  }
}
