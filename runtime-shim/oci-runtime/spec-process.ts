// The process of a container: arguments, environment, working directory, limits.
import { readFileSync } from 'node:fs';
import type { ContainerConfig } from '../../cri/messages.ts';
import { WindlassError } from '../../lib/errors.ts';
import { UNLIMITED, type OciRlimit } from './oci-spec.ts';
import { isWithin, resolveInRoot } from './rooted-path.ts';

/** PATH of a process whose image says none. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface ImageProcess {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: readonly string[];
}

/** Argument vector: command replaces the entrypoint (and with it the image's arguments), args replace the arguments. */
export function planArgs(config: Pick<ContainerConfig, 'command' | 'args'>, image: ImageProcess): string[] {
  const hasCommand = config.command.length > 0;
  const args = config.args.length > 0 ? config.args : hasCommand ? [] : image.cmd;
  const all = [...(hasCommand ? config.command : image.entrypoint), ...args];
  if (all.length === 0) {
    throw new WindlassError('Invalid', 'no command: neither the container nor its image says what to run');
  }
  if (all.some((arg) => arg.includes('\0')))
    throw new WindlassError('Invalid', 'an argument of the command holds a NUL');
  return all;
}

/** Environment, later ones winning in the place of the earlier: defaults, image, container; HOME unless set. */
export function planEnv(
  config: Pick<ContainerConfig, 'envs' | 'tty'>,
  image: ImageProcess,
  { hostname, home }: { hostname: string; home: string },
): string[] {
  const env = new Map<string, string>([['PATH', DEFAULT_PATH]]);
  if (hostname !== '') env.set('HOSTNAME', hostname);
  if (config.tty) env.set('TERM', 'xterm');
  for (const entry of image.env) {
    const index = entry.indexOf('=');
    if (index > 0) env.set(entry.slice(0, index), entry.slice(index + 1));
  }
  for (const { key, value } of config.envs) env.set(checkKey(key), decodeValue(key, value));
  if (!env.has('HOME')) env.set('HOME', home);
  const [homeValue = ''] = [env.get('HOME')];
  // Some runtimes append HOME to the image's passwd file: a line break or colon would forge a user.
  if (/[\n\r:\0]/.test(homeValue) || /\\n|\\r/.test(homeValue)) {
    throw new WindlassError('Invalid', 'environment variable HOME may not hold a line break or a colon');
  }
  return [...env].map(([key, value]) => `${key}=${value}`);
}

function checkKey(key: string): string {
  if (key === '' || /[=\0]/.test(key)) {
    throw new WindlassError('Invalid', `invalid environment variable name ${JSON.stringify(key)}`);
  }
  return key;
}

function decodeValue(key: string, value: Buffer): string {
  const text = value.toString('utf8');
  if (text.includes('\0') || !Buffer.from(text).equals(value)) {
    throw new WindlassError('Invalid', `environment variable ${key} is not UTF-8 text`);
  }
  return text;
}

/**
 * Working directory with links followed inside the root. Never in /proc: /proc/self/fd/N would be a directory of the
 * runtime, that is of the host.
 */
export function planCwd(root: string, path: string): string {
  const wanted = path === '' ? '/' : path;
  if (!wanted.startsWith('/'))
    throw new WindlassError('Invalid', `working directory ${JSON.stringify(path)} is not absolute`);
  const resolved = resolveInRoot(root, wanted);
  if (isWithin(resolved.path, '/proc')) {
    throw new WindlassError('Invalid', `working directory ${JSON.stringify(path)} lies in /proc: refused`);
  }
  if (resolved.stat !== undefined && !resolved.stat.isDirectory()) {
    throw new WindlassError('Invalid', `working directory ${JSON.stringify(path)} is not a directory`);
  }
  return resolved.path;
}

export interface Ulimit {
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
}

const LIMIT_ROWS: Readonly<Record<string, string>> = {
  core: 'Max core file size',
  cpu: 'Max cpu time',
  data: 'Max data size',
  fsize: 'Max file size',
  locks: 'Max file locks',
  memlock: 'Max locked memory',
  msgqueue: 'Max msgqueue size',
  nice: 'Max nice priority',
  nofile: 'Max open files',
  nproc: 'Max processes',
  rss: 'Max resident set',
  rtprio: 'Max realtime priority',
  rttime: 'Max realtime timeout',
  sigpending: 'Max pending signals',
  stack: 'Max stack size',
};

/** Rlimits, clamped to the daemon's own hard limits when it may not raise them; `clamped` names those. */
export function planRlimits(
  ulimits: readonly Ulimit[],
  options: { mayRaise: boolean; ownLimits?: string },
): { rlimits: OciRlimit[]; clamped: string[] } {
  const own = options.ownLimits ?? (ulimits.length > 0 ? readFileSync('/proc/self/limits', 'utf8') : '');
  const clamped: string[] = [];
  const rlimits = ulimits.map(({ name, soft, hard }) => {
    const row = LIMIT_ROWS[name];
    if (row === undefined) throw new WindlassError('Invalid', `unknown ulimit ${JSON.stringify(name)}`);
    const [wantedSoft, wantedHard] = [infinite(soft), infinite(hard)];
    if (!(wantedSoft <= wantedHard))
      throw new WindlassError('Invalid', `ulimit ${name}: soft ${soft} is above hard ${hard}`);
    const ceiling = options.mayRaise ? Number.POSITIVE_INFINITY : ownHardLimit(own, row);
    if (wantedHard > ceiling) clamped.push(name);
    return {
      type: `RLIMIT_${name.toUpperCase()}`,
      soft: finite(Math.min(wantedSoft, ceiling)),
      hard: finite(Math.min(wantedHard, ceiling)),
    };
  });
  return { rlimits, clamped };
}

const infinite = (value: number): number => (value < 0 ? Number.POSITIVE_INFINITY : value);
const finite = (value: number): number => (Number.isFinite(value) ? value : UNLIMITED);

function ownHardLimit(limits: string, row: string): number {
  const line = limits.split('\n').find((text) => text.startsWith(row)) ?? '';
  const hard = line.slice(row.length).trim().split(/\s+/)[1] ?? 'unlimited';
  return hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
}
