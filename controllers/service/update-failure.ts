// Whether a new Container is the sign of a bad template.
import type { Container } from '../../crds/container.ts';
import { findCondition } from '../runtime/conditions.ts';
import { isOver, isReady } from './slots.ts';

/** Reasons of Ready that time alone does not heal. What may still come (a node, an image, a dependency) is not among them. */
const FAILURES: ReadonlySet<string> = new Set([
  'BackOff',
  'Unhealthy',
  'ErrImagePull',
  'ImagePullBackOff',
  'ErrImageNeverPull',
  'SandboxFailed',
  'CreateFailed',
  'StartFailed',
  'NotSupported',
]);

/**
 * How `child` failed since `sinceMs`, in words; undefined when it did not. A Container that runs again after it ended
 * has failed all the same.
 */
export function failureOf(child: Container, sinceMs: number): string | undefined {
  const { name } = child.metadata;
  const ready = findCondition(child, 'Ready');
  if (isOver(child)) return `${name} (${describe(child.status?.reason ?? 'Failed', endOf(child))})`;
  if (!isReady(child) && ready && FAILURES.has(ready.reason))
    return `${name} (${describe(ready.reason, ready.message)})`;
  const last = child.status?.lastTermination;
  const hasRestarted = (child.status?.restartCount ?? 0) > 0;
  // Times have no more than seconds.
  const isOlder = Date.parse(last?.finishedAt ?? '') < Math.floor(sinceMs / 1000) * 1000;
  if (!hasRestarted || isOlder) return undefined;
  return `${name} (${describe(last?.reason ?? 'Error', last ? `exited with code ${last.exitCode}` : 'was started again')})`;
}

const endOf = ({ status }: Container): string =>
  status?.exitCode === undefined ? (status?.message ?? '') : `exited with code ${status.exitCode}`;

const describe = (reason: string, message: string): string => (message === '' ? reason : `${reason}, ${message}`);
