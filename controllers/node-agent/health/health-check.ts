// Which probe a container has: its own health check, else the image's HEALTHCHECK.
import { HealthCheck } from '../../../crds/container-process.ts';
import type { HealthCheckTimes } from './health-state.ts';

const DEFAULTS = HealthCheck.parse({});

export type Probe =
  | { readonly kind: 'exec'; readonly command: readonly string[] }
  | { readonly kind: 'http'; readonly path: string; readonly port: number }
  | { readonly kind: 'tcp'; readonly port: number };

export interface ResolvedHealthCheck {
  readonly probe: Probe;
  readonly times: HealthCheckTimes;
}

export interface HealthCheckSpec {
  readonly exec?: { readonly command: readonly string[] } | undefined;
  readonly httpGet?: { readonly path: string; readonly port: number } | undefined;
  readonly tcpSocket?: { readonly port: number } | undefined;
  readonly intervalSeconds?: number | undefined;
  readonly timeoutSeconds?: number | undefined;
  readonly retries?: number | undefined;
  readonly startPeriodSeconds?: number | undefined;
  readonly startIntervalSeconds?: number | undefined;
  readonly disabled?: boolean | undefined;
}

/** HEALTHCHECK as image configurations carry it: Docker's extension, durations in nanoseconds. */
export interface ImageHealthCheck {
  readonly Test?: readonly string[] | null;
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly Retries?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
}

/** The probe to run, or undefined for none. Times said in the spec win over the image's. */
export function resolveHealthCheck(
  spec: HealthCheckSpec | undefined,
  image: ImageHealthCheck | undefined,
): ResolvedHealthCheck | undefined {
  if (spec?.disabled) return undefined;
  const own = spec ? probeOf(spec) : undefined;
  if (own) return { probe: own, times: timesOf(spec, undefined) };
  const command = imageCommand(image?.Test ?? []);
  return command ? { probe: { kind: 'exec', command }, times: timesOf(spec && said(spec), image) } : undefined;
}

/** Without a probe of its own a spec sets single times of the image's; the others it carries as schema defaults. */
function said(spec: HealthCheckSpec): HealthCheckSpec {
  const entries = Object.entries(spec).filter(([key, value]) => value !== DEFAULTS[key as keyof HealthCheck]);
  return Object.fromEntries(entries) as HealthCheckSpec;
}

function probeOf(spec: HealthCheckSpec): Probe | undefined {
  if (spec.exec) return { kind: 'exec', command: spec.exec.command };
  if (spec.httpGet) return { kind: 'http', path: spec.httpGet.path, port: spec.httpGet.port };
  if (spec.tcpSocket) return { kind: 'tcp', port: spec.tcpSocket.port };
  return undefined;
}

function imageCommand(test: readonly string[]): readonly string[] | undefined {
  const [kind, ...rest] = test;
  if (kind === 'CMD' && rest.length > 0) return rest;
  if (kind === 'CMD-SHELL' && rest[0] !== undefined) return ['/bin/sh', '-c', rest[0]];
  return undefined;
}

function timesOf(spec: HealthCheckSpec | undefined, image: ImageHealthCheck | undefined): HealthCheckTimes {
  const pick = (seconds: number | undefined, nanoseconds: number | undefined, fallbackMs: number): number =>
    seconds === undefined ? (nanoseconds ? nanoseconds / 1e6 : fallbackMs) : seconds * 1000;
  return {
    intervalMs: pick(spec?.intervalSeconds, image?.Interval, 30_000),
    timeoutMs: pick(spec?.timeoutSeconds, image?.Timeout, 30_000),
    retries: spec?.retries ?? (image?.Retries || 3),
    startPeriodMs: pick(spec?.startPeriodSeconds, image?.StartPeriod, 0),
    startIntervalMs: pick(spec?.startIntervalSeconds, image?.StartInterval, 5000),
  };
}
