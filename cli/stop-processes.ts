// Ends what an instance runs, whichever of its commands started it.
import { endProcess, isRunning } from '../lib/process-identity.ts';
import type { Instance } from '../lib/instance.ts';
import { readUpState, removeUpState } from './up-state.ts';

/** `up` gives its components 15 s in each of three stages. */
const UP_GRACE_MS = 60_000;
const COMPONENT_GRACE_MS = 15_000;

/** Stops it and waits for the end. Answers whether it ran. */
export async function stopProcesses(instance: Instance): Promise<boolean> {
  const state = readUpState(instance);
  if (!state) return false;
  const wasRunning = isRunning(state.up);
  await endProcess(state.up, UP_GRACE_MS);
  // Left over when `up` itself was killed.
  await Promise.all(
    state.components.flatMap((component) =>
      component.process ? [endProcess(component.process, COMPONENT_GRACE_MS)] : [],
    ),
  );
  removeUpState(instance);
  return wasRunning;
}
