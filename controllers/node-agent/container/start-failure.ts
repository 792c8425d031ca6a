// A container that could not be made or started: what the user is told, and when it is tried again.
import { backoffDelayMs } from '../../../lib/backoff.ts';
import { isAbort, isUnavailable } from '../../../lib/errors.ts';
import type { Container } from '../../../crds/container.ts';
import type { ApplyDeps, ApplyInput } from './apply-step.ts';
import type { StartFailure } from './plan.ts';
import { specHash } from './spec-hash.ts';

const START_BACKOFF = { initialMs: 1000, maxMs: 60_000 } as const;

/** The runtime is away, or the agent is being stopped: nothing to tell the user, the next look decides anew. */
export const isTransient = (error: unknown): boolean => isAbort(error) || isUnavailable(error);

/** A copy that failed names a folder of its own at each try, which would make every Event and status a new one. */
export const withoutTemporaryNames = (text: string): string => text.replaceAll(/\.[0-9a-f]{12}(?=[/:' ]|$)/g, '');

/** `failure` if it is one of the present spec, and no restart was asked for since. */
export function failureOf({ spec }: Container, failure: StartFailure | undefined): StartFailure | undefined {
  return failure?.specHash === specHash(spec) && failure.restartedAt === spec.restartedAt ? failure : undefined;
}

/** Remembers the failure with its backoff, and tells the user. */
export function rememberFailure(
  deps: ApplyDeps,
  { container, memory }: ApplyInput,
  reason: string,
  text: string,
): void {
  // Each try has an id of its own, which tells the user nothing and would make every Event a new one.
  const message = text.replace(/^failed to (create|start) container [0-9a-f]{64}: /, '');
  const hash = specHash(container.spec);
  const before = failureOf(container, memory.startFailure);
  const failures = (before?.failures ?? 0) + 1;
  const now = deps.clock.now();
  memory.startFailure = {
    reason,
    message,
    failures,
    firstAtMs: before?.firstAtMs ?? now,
    atMs: now,
    retryAtMs: now + backoffDelayMs(failures, START_BACKOFF),
    // As a shell says it: 127 = no such command, 126 = not to be executed.
    exitCode: /no such file|not found/i.test(message) ? 127 : /permission denied/i.test(message) ? 126 : 128,
    specHash: hash,
    restartedAt: container.spec.restartedAt,
  };
  deps.log.info({ container: container.metadata.name, reason, message }, 'container could not be started');
  deps.record(container, 'Warning', reason, message);
}
