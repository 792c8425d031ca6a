// Compares what an instance has on the host with what it had, and names the difference alone.
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { paths, type Instance } from '../../lib/instance.ts';
import { takeOwnSnapshot, type OwnSnapshot } from './host-snapshot.ts';
import { waitFor } from './wait.ts';

type Lines = Readonly<Record<string, readonly string[]>>;

/**
 * What an instance without any sandbox has, once the links of the last ones and their conmons are gone: a removal is
 * answered some 20 ms before that.
 */
export async function takeEmptySnapshot(instance: Instance): Promise<OwnSnapshot> {
  const leaving = join(paths.shimState(instance), 'network', 'sandboxes');
  const isEmpty = (): boolean => !existsSync(leaving) || readdirSync(leaving).length === 0;
  const bundles = join(paths.shimState(instance), 'b');
  const isQuiet = (): boolean => !takeOwnSnapshot(instance).processes.some((command) => command.includes(bundles));
  await waitFor(() => isEmpty() && isQuiet(), { what: 'the end of what the last sandboxes had' });
  return takeOwnSnapshot(instance);
}

/** Waits until the instance has exactly what it had; throws with what was added and what is gone. */
export async function equalsSnapshot(instance: Instance, before: OwnSnapshot, when = 'it'): Promise<void> {
  const look = (): Lines => differenceOf({ ...before }, { ...takeOwnSnapshot(instance) });
  await waitFor(() => Object.keys(look()).length === 0, { timeoutMs: 5_000 }).catch(() =>
    assert.deepEqual(look(), {}, `what the instance has on the host is not what it had before ${when}`),
  );
}

/** Lines that came (`+`) and went (`-`) by kind of object; kinds without any are left out. */
export function differenceOf(before: Lines, after: Lines): Lines {
  const changed = Object.keys({ ...before, ...after }).map((kind) => {
    const [had = [], has = []] = [before[kind], after[kind]];
    return [
      kind,
      [...without(has, had).map((line) => `+ ${line}`), ...without(had, has).map((line) => `- ${line}`)],
    ] as const;
  });
  return Object.fromEntries(changed.filter(([, lines]) => lines.length > 0));
}

/** Each line as often as it is in the one more than in the other. */
function without(lines: readonly string[], others: readonly string[]): string[] {
  const left = [...others];
  return lines.filter((line) => {
    const at = left.indexOf(line);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}
