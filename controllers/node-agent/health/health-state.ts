// The health of one running container as Docker counts it: a pure state machine fed with probe results.

export interface HealthCheckTimes {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly retries: number;
  readonly startPeriodMs: number;
  readonly startIntervalMs: number;
}

export type HealthStatus = 'Starting' | 'Healthy' | 'Unhealthy';

export interface HealthState {
  readonly status: HealthStatus;
  readonly failingStreak: number;
  /** Output or error of the last failed probe, shortened. */
  readonly lastFailure?: string;
}

export const INITIAL_HEALTH: HealthState = { status: 'Starting', failingStreak: 0 };

export type ProbeResult = { readonly ok: true } | { readonly ok: false; readonly message: string };

/** First look at a container that has just started; each later one waits as long again as the container has run. */
const FIRST_LOOK_MS = 50;

/** Before the first probe that Docker would make, a container is looked at too, so that it is ready once it is. */
const isEarly = ({ status, failingStreak }: HealthState, times: HealthCheckTimes, runsForMs: number): boolean =>
  status === 'Starting' && failingStreak === 0 && runsForMs < times.intervalMs;

/** The state after one probe that began at `nowMs` of a container started at `startedAtMs`. */
export function nextHealth(
  state: HealthState,
  result: ProbeResult,
  times: HealthCheckTimes,
  startedAtMs: number,
  nowMs: number,
): HealthState {
  if (result.ok) return { status: 'Healthy', failingStreak: 0 };
  const runsForMs = nowMs - startedAtMs;
  // A failure in the start period, or early, does not count, unless the container has been healthy before.
  if (state.status === 'Starting' && (runsForMs < times.startPeriodMs || isEarly(state, times, runsForMs))) {
    return { ...state, lastFailure: result.message };
  }
  const failingStreak = state.failingStreak + 1;
  return {
    status: failingStreak >= times.retries ? 'Unhealthy' : state.status,
    failingStreak,
    lastFailure: result.message,
  };
}

/** How long to wait before the next probe. */
export function nextProbeDelayMs(
  state: HealthState,
  times: HealthCheckTimes,
  startedAtMs: number,
  nowMs: number,
): number {
  const runsForMs = Math.max(nowMs - startedAtMs, 0);
  const inStartPeriod = state.status === 'Starting' && runsForMs < times.startPeriodMs;
  const regularMs = inStartPeriod ? Math.min(times.startIntervalMs, times.intervalMs) : times.intervalMs;
  if (!isEarly(state, times, runsForMs)) return regularMs;
  // Growing gaps, and never past the moment of the first probe that counts.
  return Math.min(Math.max(runsForMs, FIRST_LOOK_MS), times.startIntervalMs, times.intervalMs - runsForMs);
}
