// Stop signals: CRI's enum and the image's text as numbers.
import { constants } from 'node:os';

const SIGRTMIN = 34;
const SIGRTMAX = 64;

/** Number of `SIGNAL_SIGTERM` (CRI), `SIGTERM`, `TERM`, `15` or `SIGRTMIN+3` (image); undefined when it is none. */
export function signalNumber(text: string): number | undefined {
  if (/^\d{1,2}$/.test(text)) {
    const number = Number(text);
    return number >= 1 && number <= SIGRTMAX ? number : undefined;
  }
  const name = text.replace(/^SIGNAL_/, '').replace(/^(?!SIG)/, 'SIG');
  const realTime = /^SIGRT(MIN|MAX)(?:(PLUS|MINUS|\+|-)(\d{1,2}))?$/.exec(name);
  if (realTime) {
    const [, base, sign = '+', offset = '0'] = realTime;
    const number = (base === 'MIN' ? SIGRTMIN : SIGRTMAX) + (/PLUS|\+/.test(sign) ? 1 : -1) * Number(offset);
    return number >= SIGRTMIN && number <= SIGRTMAX ? number : undefined;
  }
  const aliases: Readonly<Record<string, string>> = { SIGCLD: 'SIGCHLD' };
  const known: Readonly<Record<string, number | undefined>> = constants.signals;
  return known[aliases[name] ?? name];
}

/** Number of the stop signal: the container's, else the image's, else SIGTERM. */
export function stopSignalNumber(requested: string, image: string | undefined): number {
  const own = requested === '' || requested === 'SIGNAL_RUNTIME_DEFAULT' ? undefined : signalNumber(requested);
  return own ?? (image ? signalNumber(image) : undefined) ?? constants.signals.SIGTERM;
}

/** CRI's name of a signal's number. */
export function criSignalName(number: number): string {
  if (number === SIGRTMIN) return 'SIGNAL_SIGRTMIN';
  if (number === SIGRTMAX) return 'SIGNAL_SIGRTMAX';
  if (number > SIGRTMIN && number <= SIGRTMIN + 15) return `SIGNAL_SIGRTMINPLUS${number - SIGRTMIN}`;
  if (number > SIGRTMIN) return `SIGNAL_SIGRTMAXMINUS${SIGRTMAX - number}`;
  const name = Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
  return name ? `SIGNAL_${name}` : 'SIGNAL_RUNTIME_DEFAULT';
}
