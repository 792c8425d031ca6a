import { pino, type Logger } from 'pino';

export type { Logger } from 'pino';

/** Lines that may wait while stderr cannot be written; more are dropped. */
const MAX_WAITING_BYTES = 1024 * 1024;

/** A JSON-lines logger on stderr for one process; `component` is on every line. Level names are pino's. */
export function createLogger(component: string, level = 'info'): Logger {
  const destination = pino.destination({ dest: 2, sync: true, maxLength: MAX_WAITING_BYTES });
  // A disk that is full, or a reader that left, costs lines of the log, not the process.
  destination.on('error', () => undefined);
  return pino(
    {
      level,
      base: { component },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ['password', 'token', 'auth', '*.password', '*.token', '*.auth'], censor: '***' },
    },
    destination,
  );
}

/** A logger that writes nothing, for tests. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}
