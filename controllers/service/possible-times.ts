// Nodes write the times of Containers by their own clocks. A time that cannot be, because it lies before the Container
// was made or is still to come, is taken for the moment at which this process first saw it: a clock that is off by
// minutes neither holds up what waits for minReadySeconds nor hides a failure.
import type { Container, ContainerStatus } from '../../crds/container.ts';
import { rfc3339, type Clock } from '../../lib/clock.ts';
import type { Index } from '../runtime/cache.ts';

/** Times have whole seconds, and clocks that are kept right differ by less than this. */
const TOLERANCE_MS = 2_000;
/** Only impossible times are remembered; the oldest go first. */
const MAX_REMEMBERED = 10_000;

/** `index`, with possible times only. A Container of the cache never changes, so that each is looked at once. */
export function withPossibleTimes(index: Index<Container>, clock: Pick<Clock, 'now'>): Index<Container> {
  const correct = createTimeCorrection(clock);
  const known = new WeakMap<Container, Container>();
  const look = (container: Container): Container => {
    const right = known.get(container) ?? correct(container);
    known.set(container, right);
    return right;
  };
  return { get: (value) => index.get(value).map(look) };
}

/** A function that answers its Container as it is, or a copy with the times put right. */
export function createTimeCorrection(clock: Pick<Clock, 'now'>): (container: Container) => Container {
  const firstSeen = new Map<string, string>();

  const correct = (time: string, { metadata }: Container): string => {
    const key = `${metadata.uid ?? ''} ${time}`;
    const known = firstSeen.get(key);
    if (known !== undefined) return known;
    const at = Date.parse(time);
    const createdAt = Date.parse(metadata.creationTimestamp ?? '');
    if (!(at > clock.now() + TOLERANCE_MS) && !(at < createdAt - TOLERANCE_MS)) return time;
    const now = rfc3339(clock.now());
    firstSeen.set(key, now);
    const [oldest] = firstSeen.keys();
    if (oldest !== undefined && firstSeen.size > MAX_REMEMBERED) firstSeen.delete(oldest);
    return now;
  };

  return (container) => {
    const { status } = container;
    if (!status) return container;
    let isOff = false;
    const put = <T extends { readonly startedAt?: string | undefined; readonly finishedAt?: string | undefined }>(
      times: T,
    ): Partial<T> => {
      const corrected: { startedAt?: string; finishedAt?: string } = {};
      for (const field of ['startedAt', 'finishedAt'] as const) {
        const time = times[field];
        const right = time === undefined ? undefined : correct(time, container);
        if (right === undefined || right === time) continue;
        corrected[field] = right;
        isOff = true;
      }
      return corrected as Partial<T>;
    };
    const conditions = status.conditions?.map((condition) => {
      const lastTransitionTime = correct(condition.lastTransitionTime, container);
      if (lastTransitionTime === condition.lastTransitionTime) return condition;
      isOff = true;
      return { ...condition, lastTransitionTime };
    });
    const right: ContainerStatus = {
      ...status,
      ...put(status),
      ...(conditions ? { conditions } : {}),
      ...(status.lastTermination
        ? { lastTermination: { ...status.lastTermination, ...put(status.lastTermination) } }
        : {}),
    };
    return isOff ? { ...container, status: right } : container;
  };
}
