// What the agent writes on sandboxes and containers of the runtime, so that after a restart it finds from the runtime
// alone what they are, and what CRI has no field for.

/** The agent's own memory. */
export const ANNOTATIONS = {
  /** Hash of the part of the spec that replaces the container when it changes. */
  specHash: 'windlass.dev/spec-hash',
  /** Restarts by policy until this run. */
  restartCount: 'windlass.dev/restart-count',
  /** Runs in a row, before this one, that ended too soon to count as stable. */
  shortRuns: 'windlass.dev/short-runs',
  /** spec.restartedAt when this run was created. */
  restartedAt: 'windlass.dev/restarted-at',
  /** metadata.generation when this run was created. */
  generation: 'windlass.dev/generation',
  /** Digest of the image's manifest. */
  imageDigest: 'windlass.dev/image-digest',
  /** The image reference, written out in full. */
  image: 'windlass.dev/image',
  /** On the sandbox: whose namespaces it joined, see targetKeyOf(). */
  target: 'windlass.dev/target',
  /** JSON of status.lastTermination: how the run before this one ended. */
  lastTermination: 'windlass.dev/last-termination',
  /** JSON of status.mounts. */
  mounts: 'windlass.dev/mounts',
} as const;

export const MANAGED_LABEL = 'windlass.dev/managed';

/** A number that the agent wrote; 0 when absent or damaged. */
export function numberAnnotation(annotations: Readonly<Record<string, string>>, key: string): number {
  const value = Number(annotations[key] ?? 0);
  return Number.isFinite(value) ? value : 0;
}
