// spec.stopSignal as CRI's enum: `TERM`, `SIGTERM`, `15`, `SIGRTMIN+3`.
import { constants } from 'node:os';

const NAME_OF_NUMBER = new Map<number, string>(
  Object.entries(constants.signals).map(([name, number]) => [number, name] as const),
);
// Aliases share a number: the usual names win.
for (const name of ['SIGABRT', 'SIGIO', 'SIGCHLD'] as const) NAME_OF_NUMBER.set(constants.signals[name], name);

/** CRI's name for a stop signal; undefined when CRI has none for it (the image's is used then). */
export function criSignal(text: string): string | undefined {
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    if (number === 34) return 'SIGNAL_SIGRTMIN';
    if (number > 34 && number < 64) return realTime(number - 34);
    if (number === 64) return 'SIGNAL_SIGRTMAX';
    const name = NAME_OF_NUMBER.get(number);
    return name === undefined ? undefined : `SIGNAL_${name}`;
  }
  const name = text.startsWith('SIG') ? text : `SIG${text}`;
  const match = /^SIGRT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (!match) return `SIGNAL_${name}` in KNOWN ? `SIGNAL_${name}` : undefined;
  const offset = Number(match[3] ?? 0);
  if (offset === 0) return `SIGNAL_SIGRT${match[1]}`;
  return realTime(match[1] === 'MIN' ? offset : 30 - offset);
}

const KNOWN = Object.fromEntries(
  [...Object.keys(constants.signals), 'SIGCLD', 'SIGIOT', 'SIGPOLL', 'SIGPWR', 'SIGSTKFLT'].map((name) => [
    `SIGNAL_${name}`,
    true,
  ]),
);

function realTime(offset: number): string {
  return offset <= 15 ? `SIGNAL_SIGRTMINPLUS${offset}` : `SIGNAL_SIGRTMAXMINUS${30 - offset}`;
}
